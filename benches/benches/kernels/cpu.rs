//! Criterion's clock for the kernels: the CPU time of this thread. What else runs on the machine
//! then only costs its share of the caches, and of a read only what the CPU did for it counts.
//! Throughput is shown as nanoseconds for each element.

use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use rustix::time::{ClockId, clock_gettime};

/// See the module.
pub struct CpuTime;

fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("a thread ran for some time")
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }

    fn end(&self, start: Duration) -> Duration {
        now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for CpuTime {
    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "ns"
    }

    fn scale_throughputs(&self, _: f64, of: &Throughput, values: &mut [f64]) -> &'static str {
        let Throughput::Elements(count) = of else { return "ns" };
        values.iter_mut().for_each(|value| *value /= *count as f64);
        "ns each"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

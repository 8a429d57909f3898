//! Random programs over random keys: what every record sees equals sequential execution of the
//! records of its key in arrival order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::aec::tests_toy::{POISON, Random, Toy};
use crate::aec::{Context, Controller, Options, join};
use crate::state::request::{Batch, Completions, StoreId};
use crate::state::{ListState, MapState, ReducingState, StateKind, StateTable, ValueState};
use crate::types::{Error, MergeOp, Result};

const RECORDS: usize = 400;
const NAMESPACES: [&[u8]; 2] = [b"", b"window"];

#[derive(Clone, Debug)]
enum Step {
    Get,
    Put(Vec<u8>),
    SubmitPut(Vec<u8>),
    Delete,
    ListGet,
    ListAdd(Vec<Vec<u8>>),
    ListUpdate(Vec<Vec<u8>>),
    MapGet(u8),
    MapPut(u8, Vec<u8>),
    MapRemove(u8),
    MapClear,
    MapRead,
    Add(i64),
    Number,
    Both,
    SubmitMany(u8),
    Fail,
}

#[derive(Clone, Debug)]
struct Program {
    id: usize,
    namespace: usize,
    steps: Vec<Step>,
}

// What a step told, as text: easy to compare and to read when it differs.
type Log = Vec<(usize, String)>;

fn step(random: &mut Random) -> Step {
    let mut value = random.next().to_le_bytes()[..random.below(8) as usize].to_vec();
    let list = |random: &mut Random| (0..random.below(3)).map(|i| vec![b'x'; i as usize]).collect();
    let map_key = (random.below(9) + 1) as u8;
    match random.below(34) {
        0..4 => Step::Get,
        4..7 => Step::Put(value),
        7 => {
            value.extend_from_slice(POISON);
            Step::Put(value)
        }
        8..11 => Step::SubmitPut(value),
        11 => Step::Delete,
        12 | 13 => Step::ListGet,
        14..17 => Step::ListAdd(list(random)),
        17 => Step::ListUpdate(list(random)),
        18 | 19 => Step::MapGet(map_key),
        20..24 => Step::MapPut(map_key, value),
        24 => Step::MapRemove(map_key),
        25 => Step::MapClear,
        26 | 27 => Step::MapRead,
        28 => Step::Add(random.next() as i64),
        29 => Step::Number,
        30 | 31 => Step::Both,
        32 => Step::SubmitMany(random.below(200) as u8),
        _ => Step::Fail,
    }
}

#[derive(Clone, Copy)]
struct States {
    value: ValueState,
    list: ListState,
    map: MapState,
    sum: ReducingState,
}

fn states() -> States {
    let mut table = StateTable::default();
    table.declare("value", StateKind::Value).unwrap();
    table.declare("list", StateKind::List).unwrap();
    table.declare("map", StateKind::Map).unwrap();
    table.declare("sum", StateKind::Reducing(MergeOp::Sum)).unwrap();
    let store = StoreId(1);
    States {
        value: table.value(store, "value").unwrap(),
        list: table.list(store, "list").unwrap(),
        map: table.map(store, "map").unwrap(),
        sum: table.reducing(store, "sum").unwrap(),
    }
}

fn slices(list: &[Vec<u8>]) -> Vec<&[u8]> {
    list.iter().map(Vec::as_slice).collect()
}

async fn execute(states: States, ctx: &Context, namespace: &[u8], step: &Step) -> Result<String> {
    let at = ctx.namespace(namespace);
    let States { value, list, map, sum } = states;
    Ok(match step {
        Step::Get => format!("{:?}", value.get(at).await?.map(|v| v.to_vec())),
        Step::Put(bytes) => match value.put(at, bytes).await {
            Ok(()) => "put".to_owned(),
            Err(error) => error.to_string(),
        },
        Step::SubmitPut(bytes) => format!("{:?}", value.put(at, bytes).submit().await?),
        Step::Delete => format!("{:?}", value.delete(at).await?),
        Step::ListGet => {
            let items = list.get(at).await?;
            format!("{:?}", items.iter().map(|i| i.to_vec()).collect::<Vec<_>>())
        }
        Step::ListAdd(items) => match items.as_slice() {
            [one] => format!("{:?}", list.add(at, one).submit().await?),
            _ => format!("{:?}", list.add_all(at, &slices(items)).await?),
        },
        Step::ListUpdate(items) => format!("{:?}", list.update(at, &slices(items)).await?),
        Step::MapGet(key) => {
            let (got, there) = join(map.get(at, &[*key]), map.contains(at, &[*key])).await;
            format!("{:?} {}", got?.map(|v| v.to_vec()), there?)
        }
        Step::MapPut(key, bytes) => format!("{:?}", map.put(at, &[*key], bytes).submit().await?),
        Step::MapRemove(key) => format!("{:?}", map.remove(at, &[*key]).await?),
        Step::MapClear => format!("{:?}", map.clear(at).submit().await?),
        Step::MapRead => {
            let mut all = BTreeMap::new();
            map.for_each(at, |k, v| assert!(all.insert(k[0], v.to_vec()).is_none())).await?;
            format!("{all:?}")
        }
        Step::Add(number) => format!("{:?}", sum.add(at, *number).submit().await?),
        Step::Number => format!("{:?}", sum.get(at).await?),
        Step::Both => {
            let (a, b) = join(value.get(at), sum.get(at)).await;
            format!("{:?} {:?}", a?.map(|v| v.to_vec()), b?)
        }
        Step::SubmitMany(count) => {
            for i in 0..*count {
                value.put(at, &[i]).submit().await?;
            }
            "many".to_owned()
        }
        Step::Fail => return Err(Error::invalid("told to fail")),
    })
}

// One key and namespace, executed by hand.
#[derive(Default)]
struct Model {
    value: Option<Vec<u8>>,
    list: Vec<Vec<u8>>,
    map: BTreeMap<u8, Vec<u8>>,
    sum: Option<i64>,
}

impl Model {
    fn execute(&mut self, step: &Step) -> Option<String> {
        let unit = || "()".to_owned();
        Some(match step {
            Step::Get => format!("{:?}", self.value),
            Step::Put(bytes) if bytes.ends_with(POISON) => "corrupt: a poisoned value".to_owned(),
            Step::Put(bytes) => {
                self.value = Some(bytes.clone());
                "put".to_owned()
            }
            Step::SubmitPut(bytes) => {
                self.value = Some(bytes.clone());
                unit()
            }
            Step::Delete => {
                self.value = None;
                unit()
            }
            Step::ListGet => format!("{:?}", self.list),
            Step::ListAdd(items) => {
                self.list.extend(items.iter().cloned());
                unit()
            }
            Step::ListUpdate(items) => {
                self.list.clone_from(items);
                unit()
            }
            Step::MapGet(key) => {
                format!("{:?} {}", self.map.get(key), self.map.contains_key(key))
            }
            Step::MapPut(key, bytes) => {
                self.map.insert(*key, bytes.clone());
                unit()
            }
            Step::MapRemove(key) => {
                self.map.remove(key);
                unit()
            }
            Step::MapClear => {
                self.map.clear();
                unit()
            }
            Step::MapRead => format!("{:?}", self.map),
            Step::Add(number) => {
                self.sum = Some(self.sum.map_or(*number, |s| s.wrapping_add(*number)));
                unit()
            }
            Step::Number => format!("{:?}", self.sum),
            Step::Both => format!("{:?} {:?}", self.value, self.sum),
            Step::SubmitMany(count) => {
                if let Some(last) = count.checked_sub(1) {
                    self.value = Some(vec![last]);
                }
                "many".to_owned()
            }
            Step::Fail => return None,
        })
    }
}

struct Outcome {
    log: Log,
    starts: Vec<usize>,
    failed: Vec<Vec<u8>>,
}

fn run(seed: u64, programs: &[(Vec<u8>, Program)], in_flight_max: u32) -> Outcome {
    let (log, starts) = (Rc::new(RefCell::new(Log::new())), Rc::new(RefCell::new(Vec::new())));
    let states = states();
    let options = Options { in_flight_max, key_groups: 128 };
    let mut controller = Controller::new(options, |ctx: Context, program: Program| {
        starts.borrow_mut().push(program.id);
        let log = Rc::clone(&log);
        async move {
            for step in &program.steps {
                let told = execute(states, &ctx, NAMESPACES[program.namespace], step).await?;
                log.borrow_mut().push((program.id, told));
            }
            Ok(())
        }
    })
    .unwrap();
    let mut random = Random(seed ^ 1);
    let (mut toy, mut batch, mut done) = (Toy::default(), Batch::default(), Completions::default());
    let (mut offered, mut failed) = (0, Vec::new());
    while offered < programs.len() || !controller.is_idle() {
        for _ in 0..random.below(9) {
            let Some((key, program)) = programs.get(offered) else { break };
            if controller.offer(key, program.clone()).is_err() {
                assert_eq!(controller.in_flight(), in_flight_max);
                break;
            }
            offered += 1;
        }
        controller.turn(&mut done, &mut batch);
        assert!(done.items.is_empty() && controller.in_flight() <= in_flight_max);
        failed.extend(controller.failures().map(|failure| failure.key));
        toy.submit(&mut batch);
        let count = random.below(12) as usize;
        toy.answer(&mut random, count, &mut done);
    }
    let counters = controller.counters();
    assert_eq!((counters.records, counters.strays), (programs.len() as u64, 0));
    drop(controller);
    Outcome { log: log.take(), starts: starts.take(), failed }
}

fn programs(seed: u64, keys: u64) -> Vec<(Vec<u8>, Program)> {
    let mut random = Random(seed);
    let make = |id| {
        let key = random.below(keys);
        let key = key.to_string().repeat(1 + key as usize % 40).into_bytes();
        let namespace = random.below(2) as usize;
        let steps = (0..random.below(8)).map(|_| step(&mut random)).collect();
        (key, Program { id, namespace, steps })
    };
    (0..RECORDS).map(make).collect()
}

#[test]
fn results_equal_sequential_execution_in_arrival_order() {
    for seed in 0..60 {
        let mut random = Random(seed ^ 0xabc);
        let keys = 1 + random.below(50);
        let programs = programs(seed, keys);
        let outcome = run(seed, &programs, 1 + random.below(64) as u32);

        let mut models = BTreeMap::<(&[u8], usize), Model>::new();
        let (mut expected, mut failed) = (vec![Vec::new(); RECORDS], Vec::new());
        for (key, program) in &programs {
            let model = models.entry((key, program.namespace)).or_default();
            for step in &program.steps {
                let Some(told) = model.execute(step) else {
                    failed.push(key.clone());
                    break;
                };
                expected[program.id].push(told);
            }
        }
        let mut told = vec![Vec::new(); RECORDS];
        for (id, text) in outcome.log {
            told[id].push(text);
        }
        for (id, (told, expected)) in told.iter().zip(&expected).enumerate() {
            assert_eq!(told, expected, "seed {seed}, record {id}: {:?}", programs[id]);
        }
        for key in programs.iter().map(|(key, _)| key) {
            let of_key = |id: &usize| programs[*id].0 == *key;
            let starts: Vec<_> = outcome.starts.iter().copied().filter(of_key).collect();
            assert!(starts.is_sorted(), "seed {seed}: records of a key out of order: {starts:?}");
        }
        let mut told_failed = outcome.failed;
        told_failed.sort();
        failed.sort();
        assert_eq!(told_failed, failed, "seed {seed}");
    }
}

#[test]
fn a_run_repeats_to_the_same_order() {
    let programs = programs(7, 20);
    let (a, b) = (run(7, &programs, 16), run(7, &programs, 16));
    assert_eq!((a.log, a.starts), (b.log, b.starts));
}

//! Requests to a DFS by operation, as who runs it counts and bills them: each try of an operation
//! is one. Where the DFS is a folder or memory, they are what a store would have been asked.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Put,
    Part,
    Head,
    List,
    Delete,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Reads of objects, whole or of a range.
    pub gets: u64,
    /// Bytes that they brought.
    pub get_bytes: u64,
    /// Objects written by one request.
    pub puts: u64,
    /// Bytes of them.
    pub put_bytes: u64,
    /// Parts of objects, and what begins and joins them.
    pub parts: u64,
    /// Bytes of them.
    pub part_bytes: u64,
    /// Questions for an object's size.
    pub heads: u64,
    /// Lists of objects, each page one.
    pub lists: u64,
    /// Deletes, which stores do not bill.
    pub deletes: u64,
}

impl Requests {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.get_bytes += other.get_bytes;
        self.puts += other.puts;
        self.put_bytes += other.put_bytes;
        self.parts += other.parts;
        self.part_bytes += other.part_bytes;
        self.heads += other.heads;
        self.lists += other.lists;
        self.deletes += other.deletes;
    }

    /// Those that stores bill as writes, lists among them: they cost ten times a read and more.
    #[must_use]
    pub fn billed_writes(&self) -> u64 {
        self.puts + self.parts + self.lists
    }

    /// Those that stores bill as reads.
    #[must_use]
    pub fn billed_reads(&self) -> u64 {
        self.gets + self.heads
    }
}

/// Counts requests; any thread may.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    // By operation.
    requests: [AtomicU64; 6],
    bytes: [AtomicU64; 6],
}

impl RequestCounts {
    /// Counts one, which moved so many bytes.
    pub(crate) fn count(&self, operation: Operation, bytes: u64) {
        self.requests[operation as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes[operation as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Those so far.
    pub(crate) fn read(&self) -> Requests {
        let requests = |of: Operation| self.requests[of as usize].load(Ordering::Relaxed);
        let bytes = |of: Operation| self.bytes[of as usize].load(Ordering::Relaxed);
        Requests {
            gets: requests(Operation::Get),
            get_bytes: bytes(Operation::Get),
            puts: requests(Operation::Put),
            put_bytes: bytes(Operation::Put),
            parts: requests(Operation::Part),
            part_bytes: bytes(Operation::Part),
            heads: requests(Operation::Head),
            lists: requests(Operation::List),
            deletes: requests(Operation::Delete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_counted_under_its_name_and_billed_in_its_class() {
        let counts = RequestCounts::default();
        let operations = [
            Operation::Get,
            Operation::Put,
            Operation::Part,
            Operation::Head,
            Operation::List,
            Operation::Delete,
        ];
        for (at, operation) in operations.into_iter().enumerate() {
            (0..1_u64 << at).for_each(|_| counts.count(operation, 10));
        }
        let mut all = counts.read();
        let expected = Requests {
            gets: 1,
            get_bytes: 10,
            puts: 2,
            put_bytes: 20,
            parts: 4,
            part_bytes: 40,
            heads: 8,
            lists: 16,
            deletes: 32,
        };
        assert_eq!(all, expected);
        assert_eq!((all.billed_reads(), all.billed_writes()), (1 + 8, 2 + 4 + 16));
        all.add(&expected);
        assert_eq!(all.billed_reads() + all.billed_writes() + all.deletes, 2 * 63);
        assert_eq!(all.get_bytes + all.put_bytes + all.part_bytes, 2 * 70);
    }
}

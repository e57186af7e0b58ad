//! A log of several partitions in memory, and what each process sees of it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::message_log::{
    AppendError, LogRead, MessageLog, ReadError, RoomState, TrimError,
};
use tokio::sync::watch;

/// What all processes share.
pub(crate) struct SharedLog {
    partitions: Mutex<Vec<Vec<Bytes>>>,
    ends: watch::Sender<Vec<u64>>,
}

impl SharedLog {
    pub(crate) fn new(partitions: usize) -> Arc<Self> {
        Arc::new(Self {
            partitions: Mutex::new(vec![Vec::new(); partitions]),
            ends: watch::Sender::new(vec![0; partitions]),
        })
    }

    pub(crate) fn append(&self, partition: u32, record: Bytes) -> u64 {
        let index = partition as usize;
        let mut partitions = self.partitions.lock().unwrap();
        partitions[index].push(record);
        let end = partitions[index].len() as u64;
        self.ends.send_modify(|it| it[index] = end);
        end - 1
    }

    pub(crate) fn end(&self, partition: u32) -> u64 {
        self.ends.borrow()[partition as usize]
    }

    pub(crate) fn records(&self, partition: u32) -> Vec<Bytes> {
        self.partitions.lock().unwrap()[partition as usize].clone()
    }
}

/// The log as one process sees it.
pub(crate) struct Member {
    shared: Arc<SharedLog>,
    pub(crate) assigned: watch::Sender<Vec<u32>>,
    pub(crate) down: watch::Sender<bool>,
    /// What it was told to trim: partition, released, stored.
    pub(crate) trims: Mutex<Vec<(u32, u64, u64)>>,
}

impl Member {
    pub(crate) fn new(shared: &Arc<SharedLog>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            assigned: watch::Sender::default(),
            down: watch::Sender::new(false),
            trims: Mutex::default(),
        })
    }

    fn is_down(partition: u32) -> ReadError {
        let reason = "down".to_owned();
        ReadError::Unavailable { partition, reason }
    }

    fn index(&self, partition: u32) -> Result<usize, ReadError> {
        if partition >= self.partitions() {
            return Err(ReadError::NoSuchPartition(partition));
        }
        if *self.down.borrow() {
            return Err(Self::is_down(partition));
        }
        Ok(partition as usize)
    }
}

#[async_trait]
impl MessageLog for Member {
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, AppendError> {
        Ok(self.shared.append(partition, record))
    }

    async fn read(
        &self,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<LogRead, ReadError> {
        let index = self.index(partition)?;
        let partitions = self.shared.partitions.lock().unwrap();
        let mut bytes = 0;
        let records = (from..).zip(partitions[index].iter().skip(from as usize));
        let records = records.take_while(|(offset, record)| {
            bytes += record.len();
            *offset == from || bytes <= max_bytes
        });
        Ok(LogRead {
            records: records.map(|(it, record)| (it, record.clone())).collect(),
            durable_end: partitions[index].len() as u64,
        })
    }

    async fn floor(&self, partition: u32) -> Result<u64, ReadError> {
        self.index(partition).map(|_| 0)
    }

    async fn durable_end(&self, partition: u32) -> Result<u64, ReadError> {
        let index = self.index(partition)?;
        Ok(self.shared.ends.borrow()[index])
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<u64, ReadError> {
        let index = self.index(partition)?;
        let (mut ends, mut down) = (self.shared.ends.subscribe(), self.down.subscribe());
        tokio::select! {
            biased;
            _ = down.wait_for(|it| *it) => Err(Self::is_down(partition)),
            ends = ends.wait_for(|ends| ends[index] > offset) => Ok(ends.unwrap()[index]),
        }
    }

    async fn trim(&self, partition: u32, released: u64, stored: u64) -> Result<(), TrimError> {
        let trim = (partition, released, stored);
        self.trims.lock().unwrap().push(trim);
        Ok(())
    }

    fn partitions(&self) -> u32 {
        u32::try_from(self.shared.ends.borrow().len()).unwrap()
    }

    fn assignments(&self, _group: &str) -> watch::Receiver<Vec<u32>> {
        self.assigned.subscribe()
    }

    fn room(&self) -> RoomState {
        RoomState::Enough
    }

    fn is_shared(&self) -> bool {
        true
    }
}

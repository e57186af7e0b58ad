//! The obligations of a [`MessageLog`] as tests, for every adapter to run.
//!
//! An adapter gives a [`MessageLogSite`] for each test: see `tests/message_log_contract.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{AppendError, MessageLog, ReadError, RoomState, TrimError};
use crate::log_file::MAX_RECORD_BYTES;
use crate::obligations;

mod obligation;

pub use obligation::{Obligation, Verdict, Violation, ensure, fail, violations};

/// Where a log lives. Each test gets its own, empty. Segments, if there are any, are small enough
/// that 64 records of 1 KiB fill several.
#[async_trait]
pub trait MessageLogSite: Send + Sync {
    /// Opens the log for the first time.
    async fn open(&self) -> Arc<dyn MessageLog>;

    /// Ends the process that has the log, at once and without a goodbye, and opens it anew.
    async fn restart(&self) -> Arc<dyn MessageLog>;

    /// Cuts the power (of one machine, where there are several), so that nothing is left of what
    /// was not made durable, and opens the log anew.
    async fn lose_power(&self) -> Arc<dyn MessageLog>;

    /// Has every later append fail after its record was handed over, so that nobody knows what
    /// became of it.
    fn fail_appends(&self);

    /// Leaves the log too little room, or enough. False if the adapter does not watch its room.
    fn limit_room(&self, low: bool) -> bool;
}

type Site = Box<dyn MessageLogSite>;

/// The one that is tested: every log has it.
const PARTITION: u32 = 0;

/// All obligations of a [`MessageLog`].
pub fn message_log_obligations() -> Vec<Obligation<dyn MessageLogSite>> {
    obligations![
        durable,
        dense,
        unaltered,
        unknown_means_maybe,
        seen_when_acknowledged,
        only_what_is_durable_is_seen,
        contiguous,
        bounded,
        waits,
        trimmed_as_told,
        limited,
        refused_for_want_of_room,
        partitioned,
    ]
}

async fn durable(site: Site) -> Verdict {
    let log = site.open().await;
    for index in 0..6 {
        append(&*log, text(index)).await?;
    }
    let log = site.lose_power().await;
    let kept = contents(&*log, 0).await?;
    ensure(kept == (0..6).map(text).collect::<Vec<_>>(), || {
        format!("{} of 6 records are left", kept.len())
    })
}

async fn dense(site: Site) -> Verdict {
    let log = site.open().await;
    for expected in 0..4 {
        let offset = append(&*log, text(expected)).await?;
        ensure(offset == expected, || {
            format!("append {expected} got offset {offset}")
        })?;
    }
    let together: Vec<_> = (4..8).map(|index| append(&*log, text(index))).collect();
    let mut offsets = futures::future::try_join_all(together).await?;
    offsets.sort_unstable();
    ensure(offsets == [4, 5, 6, 7], || {
        format!("four appends at once got offsets {offsets:?}")
    })?;
    let log = site.restart().await;
    let offset = append(&*log, text(8)).await?;
    ensure(offset == 8, || {
        format!("the first append after a restart got offset {offset}, 8 is due")
    })
}

async fn unaltered(site: Site) -> Verdict {
    let log = site.open().await;
    let records = [
        Bytes::new(),
        Bytes::from_static(&[0]),
        Bytes::from(vec![0; 2_000]),
        Bytes::from((0..3_000u32).map(|value| value as u8).collect::<Vec<_>>()),
        Bytes::from_static(b"\r\n\0"),
    ];
    for record in &records {
        append(&*log, record.clone()).await?;
    }
    for (offset, record) in (0..).zip(&records) {
        let read = read(&*log, offset, 1).await?;
        ensure(read.first() == Some(&(offset, record.clone())), || {
            format!("record {offset} was altered")
        })?;
    }
    let log = site.restart().await;
    ensure(contents(&*log, 0).await? == records, || {
        "records were altered by a restart".to_owned()
    })
}

async fn unknown_means_maybe(site: Site) -> Verdict {
    let log = site.open().await;
    append(&*log, text(0)).await?;
    site.fail_appends();
    let outcome = log.append(PARTITION, text(1)).await;
    let log = site.restart().await;
    let kept = contents(&*log, 0).await?;
    ensure(kept.first() == Some(&text(0)), || {
        "a record acknowledged before is gone".to_owned()
    })?;
    let there = kept.iter().any(|record| *record == text(1));
    match outcome {
        Ok(_) if !there => fail("the append was acknowledged, and its record is gone"),
        Err(error) if there && !matches!(error, AppendError::Unknown { .. }) => fail(format!(
            "the record is there although it was refused: {error}"
        )),
        _ => Ok(()),
    }
}

async fn seen_when_acknowledged(site: Site) -> Verdict {
    let log = site.open().await;
    for index in 0..6 {
        let offset = append(&*log, text(index)).await?;
        let end = log.durable_end(PARTITION).await.map_err(violated)?;
        ensure(end > offset, || {
            format!("offset {offset} is acknowledged, the durable end is {end}")
        })?;
        let read = read(&*log, offset, 1).await?;
        ensure(!read.is_empty(), || {
            format!("offset {offset} is acknowledged and not to be read")
        })?;
    }
    Ok(())
}

async fn only_what_is_durable_is_seen(site: Site) -> Verdict {
    let log = site.open().await;
    append(&*log, text(0)).await?;
    ensure(read(&*log, 1, 1).await?.is_empty(), || {
        "there is a record at the end".to_owned()
    })?;
    match log.read(PARTITION, 2, 1).await {
        Err(ReadError::BeyondEnd {
            offset: 2,
            durable_end: 1,
            ..
        }) => {}
        other => return fail(format!("a read beyond the end gave {other:?}")),
    }
    site.fail_appends();
    drop(log.append(PARTITION, text(1)).await);
    let seen = contents(&*log, 0).await?;
    let log = site.lose_power().await;
    let kept = contents(&*log, 0).await?;
    ensure(seen.len() <= kept.len().max(1), || {
        "a record that was neither acknowledged nor durable was seen, and is gone".to_owned()
    })
}

async fn contiguous(site: Site) -> Verdict {
    let log = site.open().await;
    let count = 40;
    for index in 0..count {
        append(&*log, text(index)).await?;
    }
    for from in 0..count {
        let read = read(&*log, from, usize::MAX).await?;
        let expected: Vec<_> = (from..)
            .take(read.len())
            .map(|index| (index, text(index)))
            .collect();
        ensure(!read.is_empty() && read == expected, || {
            format!("a read from {from} is not contiguous")
        })?;
    }
    let log = site.restart().await;
    let all = contents(&*log, 0).await?;
    ensure(all == (0..count).map(text).collect::<Vec<_>>(), || {
        "after a restart there is a gap".to_owned()
    })
}

async fn bounded(site: Site) -> Verdict {
    let mut log = site.open().await;
    for _ in 0..6 {
        append(&*log, Bytes::from(vec![7; 100])).await?;
    }
    for is_first in [true, false] {
        if !is_first {
            log = site.restart().await;
        }
        for (max_bytes, expected) in [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (350, 3)] {
            let read = read(&*log, 1, max_bytes).await?.len();
            let more = read > expected;
            ensure(!more, || {
                format!("a read of {max_bytes} bytes gave {read} records of 100")
            })?;
            ensure(read > 0, || {
                format!("a read of {max_bytes} bytes made no progress")
            })?;
        }
    }
    Ok(())
}

async fn waits(site: Site) -> Verdict {
    let log = site.open().await;
    append(&*log, text(0)).await?;
    let end = log.wait_beyond(PARTITION, 0).await.map_err(violated)?;
    ensure(end == 1, || format!("the end is 1, wait_beyond says {end}"))?;

    let mut dropped = Box::pin(log.wait_beyond(PARTITION, 1));
    ensure(futures::poll!(&mut dropped).is_pending(), || {
        "there is nothing beyond 1 yet".to_owned()
    })?;
    drop(dropped);

    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.wait_beyond(PARTITION, 1).await }
    });
    append(&*log, text(1)).await?;
    let end = waiting.await.map_err(violated)?.map_err(violated)?;
    ensure(end == 2, || format!("the end is 2, wait_beyond says {end}"))
}

async fn trimmed_as_told(site: Site) -> Verdict {
    let log = site.open().await;
    for index in 1..=64 {
        append(&*log, Bytes::from(vec![index; 1_000])).await?;
    }
    log.trim(PARTITION, 40, 50).await.map_err(violated)?;
    log.trim(PARTITION, 40, 50).await.map_err(violated)?;
    let mut log = log;
    for _ in 0..2 {
        let floor = log.floor(PARTITION).await.map_err(violated)?;
        ensure(floor <= 40, || {
            format!("trimmed below 40, the floor is {floor}")
        })?;
        let kept = contents(&*log, floor).await?;
        let expected: Vec<_> = (floor as u8..64)
            .map(|index| Bytes::from(vec![index + 1; 1_000]))
            .collect();
        ensure(kept == expected, || {
            format!("records from the floor {floor} on are not all there")
        })?;
        if let Some(gone) = floor.checked_sub(1) {
            match log.read(PARTITION, gone, 1).await {
                Err(ReadError::Trimmed {
                    offset,
                    floor: named,
                    ..
                }) if offset == gone && named == floor => {}
                other => return fail(format!("a read below the floor {floor} gave {other:?}")),
            }
        }
        log = site.restart().await;
    }
    for (released, stored) in [(65, 64), (40, 65)] {
        match log.trim(PARTITION, released, stored).await {
            Err(TrimError::BeyondEnd { below: 65, .. }) => {}
            other => return fail(format!("a trim beyond the end gave {other:?}")),
        }
    }
    Ok(())
}

async fn limited(site: Site) -> Verdict {
    let log = site.open().await;
    match log
        .append(PARTITION, Bytes::from(vec![1; MAX_RECORD_BYTES + 1]))
        .await
    {
        Err(AppendError::TooLarge { .. }) => {}
        other => return fail(format!("an append above the limit gave {other:?}")),
    }
    let offset = append(&*log, text(0)).await?;
    ensure(offset == 0, || {
        format!("a refused append used an offset: the next one got {offset}")
    })
}

async fn refused_for_want_of_room(site: Site) -> Verdict {
    let log = site.open().await;
    append(&*log, text(0)).await?;
    ensure(log.room() == RoomState::Enough, || {
        "there is room".to_owned()
    })?;
    if !site.limit_room(true) {
        return Ok(());
    }
    let mut kept = 1;
    loop {
        match log.append(PARTITION, text(kept)).await {
            Ok(_) => kept += 1,
            Err(AppendError::NoRoom { retry_after_ms, .. }) if retry_after_ms > 0 => break,
            Err(error) => return fail(format!("without room, an append gave: {error}")),
        }
        tokio::task::yield_now().await;
    }
    ensure(matches!(log.room(), RoomState::Low { .. }), || {
        "appends are refused, room is not low".to_owned()
    })?;
    let read = contents(&*log, 0).await?;
    ensure(read.len() as u64 == kept, || {
        format!("{kept} were acknowledged, {} are there", read.len())
    })?;
    site.limit_room(false);
    loop {
        match log.append(PARTITION, text(kept)).await {
            Ok(offset) => {
                return ensure(offset == kept, || {
                    format!("refused appends used offsets: got {offset}, not {kept}")
                });
            }
            Err(AppendError::NoRoom { .. }) => tokio::task::yield_now().await,
            Err(error) => {
                return fail(format!(
                    "an append to a log that has room again gave: {error}"
                ));
            }
        }
    }
}

async fn partitioned(site: Site) -> Verdict {
    let log = site.open().await;
    let count = log.partitions();
    ensure(count > 0, || "there are no partitions".to_owned())?;
    let mut assignments = log.assignments("contract");
    let assigned = assignments
        .wait_for(|assigned| assigned.len() == count as usize)
        .await
        .map_err(violated)?
        .clone();
    ensure(assigned == (0..count).collect::<Vec<_>>(), || {
        format!("of {count} partitions, the only member got {assigned:?}")
    })?;
    for partition in assigned {
        let end = log.durable_end(partition).await.map_err(violated)?;
        ensure(end == 0, || {
            format!("partition {partition} begins at {end}")
        })?;
    }
    for none in [count, u32::MAX] {
        match log.append(none, text(0)).await {
            Err(AppendError::NoSuchPartition(_)) => {}
            other => {
                return fail(format!(
                    "an append to a partition that is not there gave {other:?}"
                ));
            }
        }
    }
    match log.read(u32::MAX, 0, 1).await {
        Err(ReadError::NoSuchPartition(_)) => Ok(()),
        other => fail(format!(
            "a read of a partition that is not there gave {other:?}"
        )),
    }
}

fn text(index: u64) -> Bytes {
    Bytes::from(format!("record {index}"))
}

fn violated(error: impl std::fmt::Display) -> Violation {
    Violation(error.to_string())
}

async fn append(log: &dyn MessageLog, record: Bytes) -> Result<u64, Violation> {
    log.append(PARTITION, record).await.map_err(violated)
}

async fn read(
    log: &dyn MessageLog,
    from: u64,
    max_bytes: usize,
) -> Result<Vec<(u64, Bytes)>, Violation> {
    Ok(log
        .read(PARTITION, from, max_bytes)
        .await
        .map_err(violated)?
        .records)
}

/// All records from `from` to the end.
async fn contents(log: &dyn MessageLog, from: u64) -> Result<Vec<Bytes>, Violation> {
    let mut contents = Vec::new();
    loop {
        let records = read(log, from + contents.len() as u64, 1 << 20).await?;
        if records.is_empty() {
            return Ok(contents);
        }
        contents.extend(records.into_iter().map(|(_, record)| record));
    }
}

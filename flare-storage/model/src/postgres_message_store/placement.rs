//! Where a conversation's seqs lie in time, so that a read names the partitions it needs.
//!
//! The bounds go into statements as parameters: PostgreSQL plans these for the values they have, and then neither opens nor locks another
//! partition. Left to find the bounds in the statement itself, it would have to plan for all partitions.

use super::{
    Rows,
    partitions::Week,
    statements,
    values::{from_db, to_db},
};
use crate::{conversation_key::ConversationKey, message_store::StoreError};

/// A conversation that has events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) conversation_no: i64,
    /// The newest seq.
    pub(super) last_seq: u64,
    /// By rising seq; never empty.
    runs: Vec<Run>,
}

/// The events of one conversation in one partition: up to the next run's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first_seq: u64,
    pub(super) from_ms: i64,
    pub(super) until_ms: i64,
}

impl Run {
    /// One that begins with an event of this time.
    pub(super) fn beginning(first_seq: u64, time_ms: i64) -> Self {
        let week = Week::of(time_ms);
        Self {
            first_seq,
            from_ms: week.begins_ms(),
            until_ms: week.ends_ms(),
        }
    }
}

/// Seqs of a conversation, both included, and the time that they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) from_ms: i64,
    /// Not included.
    pub(super) until_ms: i64,
}

/// Where the first event of a time or later is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstAt {
    /// Nowhere.
    Nowhere,
    /// There.
    Seq(u64),
    /// In this run, or right behind it.
    Within(Stretch),
}

impl Placement {
    /// The oldest seq that is kept.
    pub(super) fn floor(&self) -> u64 {
        self.runs.first().map_or(1, |it| it.first_seq)
    }

    /// All between two seqs that are stored, both included.
    pub(super) fn stretch(&self, first_seq: u64, last_seq: u64) -> Stretch {
        self.between(
            self.run_of(first_seq),
            self.run_of(last_seq),
            first_seq,
            last_seq,
        )
    }

    /// From a stored seq on to the end of a run, `events` at least if there are so many.
    pub(super) fn up(&self, first_seq: u64, events: u64) -> Stretch {
        let enough = first_seq.saturating_add(events.saturating_sub(1));
        let last_run = self.run_of(enough.min(self.last_seq));
        self.between(
            self.run_of(first_seq),
            last_run,
            first_seq,
            self.end_of(last_run),
        )
    }

    /// From the beginning of a run up to a stored seq, `events` at least if there are so many.
    pub(super) fn down(&self, last_seq: u64, events: u64) -> Stretch {
        let enough = last_seq.saturating_sub(events.saturating_sub(1));
        let first_run = self.run_of(enough.max(self.floor()));
        let first_seq = self.runs.get(first_run).map_or(1, |it| it.first_seq);
        self.between(first_run, self.run_of(last_seq), first_seq, last_seq)
    }

    /// Where the first event of `time_ms` or later is.
    pub(super) fn first_at(&self, time_ms: i64) -> FirstAt {
        let begun = self.runs.partition_point(|it| it.from_ms <= time_ms);
        match begun
            .checked_sub(1)
            .and_then(|it| Some((it, self.runs.get(it)?)))
        {
            Some((index, run)) if time_ms < run.until_ms => {
                FirstAt::Within(self.between(index, index, run.first_seq, self.end_of(index)))
            }
            _ => self
                .runs
                .get(begun)
                .map_or(FirstAt::Nowhere, |it| FirstAt::Seq(it.first_seq)),
        }
    }

    fn between(&self, first_run: usize, last_run: usize, first_seq: u64, last_seq: u64) -> Stretch {
        Stretch {
            first_seq,
            last_seq,
            from_ms: self.runs.get(first_run).map_or(i64::MIN, |it| it.from_ms),
            until_ms: self.runs.get(last_run).map_or(i64::MAX, |it| it.until_ms),
        }
    }

    /// The run that holds a seq.
    fn run_of(&self, seq: u64) -> usize {
        let begun = self.runs.partition_point(|it| it.first_seq <= seq);
        begun.saturating_sub(1)
    }

    fn end_of(&self, run: usize) -> u64 {
        self.runs
            .get(run + 1)
            .map_or(self.last_seq, |it| it.first_seq - 1)
    }
}

impl Rows {
    /// None: nothing is stored of the conversation.
    pub(super) async fn placement(
        &self,
        key: &ConversationKey,
    ) -> Result<Option<Placement>, StoreError> {
        let rows = sqlx::query_as::<_, (i64, i64, i64, i64, i64)>(statements::PLACEMENT)
            .bind(&*key.tenant)
            .bind(&*key.conversation)
            .fetch_all(self.postgres.pool());
        let rows = self.answer(rows).await?;
        let Some((conversation_no, last_seq, ..)) = rows.first().copied() else {
            return Ok(None);
        };
        let run = |(_, _, first_seq, from_ms, until_ms)| {
            Ok(Run {
                first_seq: from_db(first_seq)?,
                from_ms,
                until_ms,
            })
        };
        Ok(Some(Placement {
            conversation_no,
            last_seq: from_db(last_seq)?,
            runs: rows
                .into_iter()
                .map(run)
                .collect::<Result<_, StoreError>>()?,
        }))
    }
}

impl Stretch {
    /// Its numbers as parameters: first and last seq, begin and end of its time.
    pub(super) fn to_db(self) -> [i64; 4] {
        [
            to_db(self.first_seq),
            to_db(self.last_seq),
            self.from_ms,
            self.until_ms,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seqs 5 to 9, 10 to 10 and 11 to 30, in weeks that begin at 100, 200 and 400.
    fn placement() -> Placement {
        let run = |first_seq, from_ms| Run {
            first_seq,
            from_ms,
            until_ms: from_ms + 100,
        };
        Placement {
            conversation_no: 1,
            last_seq: 30,
            runs: vec![run(5, 100), run(10, 200), run(11, 400)],
        }
    }

    fn stretch(first_seq: u64, last_seq: u64, from_ms: i64, until_ms: i64) -> Stretch {
        Stretch {
            first_seq,
            last_seq,
            from_ms,
            until_ms,
        }
    }

    #[test]
    fn a_stretch_is_of_the_time_of_its_runs() {
        let placed = placement();
        assert_eq!(placed.floor(), 5);
        for (first, last, from_ms, until_ms) in [
            (5, 9, 100, 200),
            (6, 6, 100, 200),
            (9, 10, 100, 300),
            (10, 10, 200, 300),
            (10, 11, 200, 500),
            (5, 30, 100, 500),
        ] {
            let ought = stretch(first, last, from_ms, until_ms);
            assert_eq!(placed.stretch(first, last), ought);
        }
    }

    #[test]
    fn a_stretch_of_so_many_ends_with_its_run() {
        let placed = placement();
        assert_eq!(placed.up(6, 4), stretch(6, 9, 100, 200));
        assert_eq!(placed.up(6, 5), stretch(6, 10, 100, 300));
        assert_eq!(placed.up(10, 0), stretch(10, 10, 200, 300));
        assert_eq!(placed.up(12, u64::MAX), stretch(12, 30, 400, 500));
        assert_eq!(placed.down(12, 2), stretch(11, 12, 400, 500));
        assert_eq!(placed.down(12, 3), stretch(10, 12, 200, 500));
        assert_eq!(placed.down(9, u64::MAX), stretch(5, 9, 100, 200));
    }

    #[test]
    fn a_time_leads_to_the_run_that_may_hold_it() {
        let placed = placement();
        assert_eq!(placed.first_at(i64::MIN), FirstAt::Seq(5));
        assert_eq!(placed.first_at(99), FirstAt::Seq(5));
        let first = FirstAt::Within(stretch(5, 9, 100, 200));
        assert_eq!(placed.first_at(100), first);
        assert_eq!(placed.first_at(199), first);
        assert_eq!(placed.first_at(300), FirstAt::Seq(11));
        assert_eq!(placed.first_at(500), FirstAt::Nowhere);
        assert_eq!(placed.first_at(i64::MAX), FirstAt::Nowhere);
    }
}

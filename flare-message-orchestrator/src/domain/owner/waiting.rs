//! Who waits for an answer, for those who tell of it.

use super::Owner;
use crate::domain::{command::Command, decide::Outcome, lines::Line};

impl Owner {
    /// The commands that wait for the answer to the question of this number; one may come twice. Nothing for a question that was answered,
    /// or of nobody's.
    pub fn waiting_for(&self, asked: u64) -> impl Iterator<Item = &Command> {
        let flight = self.flight.iter().filter(move |it| it.append == asked);
        let placed = flight
            .flat_map(|it| &it.decided)
            .filter(|it| matches!(it.outcome, Outcome::Placed(_)))
            .map(|it| &it.pending.command);
        let read = self
            .reading
            .as_ref()
            .filter(|(read, _)| *read == asked)
            .map(|(_, batch)| batch);
        let lack_heads = read
            .into_iter()
            .flat_map(|it| &it.heads)
            .filter_map(|key| self.head_waits.get(key))
            .flatten();
        let lack_rows = read
            .into_iter()
            .flat_map(|it| it.ids.iter().chain(&it.targets));
        let asks = self.asks.get(&asked).into_iter().flat_map(|it| &it.lines);
        let hooked = self.hooks.get(&asked);
        let lines = lack_heads
            .chain(asks)
            .filter_map(|number| self.lines.get(*number))
            .flat_map(commands_of);
        let single = lack_rows.chain(hooked).filter_map(|(number, arrival)| {
            let line = self.lines.get(*number)?;
            Some(&line.queue.get(line.position(*arrival)?)?.command)
        });
        placed.chain(lines).chain(single)
    }
}

fn commands_of(line: &Line) -> impl Iterator<Item = &Command> {
    line.queue.iter().map(|it| &it.command)
}

//! One of the people: he writes from one of his devices, and moves between them.

use std::{collections::VecDeque, time::Duration};

use flare_core_sdk::{Draft, Sending};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::script::{self, Place};
use crate::person::{Away, Person};

/// Messages of one person without a receipt.
const WINDOW: usize = 4;
/// One message in so many is taken back.
const RECALL_ONE_IN: u32 = 40;
/// One time in so many he takes up another device.
const MOVE_ONE_IN: u32 = 60;
/// One time in so many a device that he does not hold goes offline, or comes back.
const SWITCH_ONE_IN: u32 = 25;

enum Device {
    Online(Person),
    Away(Away),
    /// Only while it changes.
    Changing,
}

/// A person with his devices.
pub(crate) struct Actor {
    devices: Vec<Device>,
    in_hand: usize,
    places: Vec<Place>,
    rng: StdRng,
    acked: watch::Sender<u64>,
    open: VecDeque<Sending>,
    recalls: u64,
}

/// What is left of a person's day.
pub(crate) struct Lived {
    /// All online.
    pub(crate) devices: Vec<Person>,
    pub(crate) recalls: u64,
}

impl Actor {
    /// All his devices are online.
    pub(crate) fn new(
        devices: Vec<Person>,
        places: Vec<Place>,
        seed: u64,
        acked: watch::Sender<u64>,
    ) -> Self {
        Self {
            devices: devices.into_iter().map(Device::Online).collect(),
            in_hand: 0,
            places,
            rng: StdRng::seed_from_u64(seed),
            acked,
            open: VecDeque::new(),
            recalls: 0,
        }
    }

    /// Says so many things, one in each `pace`.
    pub(crate) async fn lives(mut self, messages: u32, pace: Duration) -> anyhow::Result<Lived> {
        let mut ticks = interval(pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..messages {
            ticks.tick().await;
            if self.one_in(MOVE_ONE_IN) {
                self.in_hand = self.rng.random_range(0..self.devices.len());
                self.settle(0).await?;
                self.bring_back(self.in_hand);
            }
            if self.one_in(SWITCH_ONE_IN) {
                self.switch_another().await?;
            }
            self.settle(WINDOW - 1).await?;
            self.say(number).await?;
        }
        self.settle(0).await?;
        (0..self.devices.len()).for_each(|it| self.bring_back(it));
        let devices = self.devices.into_iter().filter_map(|it| match it {
            Device::Online(person) => Some(person),
            Device::Away(_) | Device::Changing => None,
        });
        Ok(Lived {
            devices: devices.collect(),
            recalls: self.recalls,
        })
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.rng.random_range(0..many) == 0
    }

    async fn say(&mut self, number: u32) -> anyhow::Result<()> {
        let Some(place) = self.places.choose(&mut self.rng).cloned() else {
            return Ok(());
        };
        let content = script::content(&mut self.rng, &place, number);
        let takes_back = self.one_in(RECALL_ONE_IN);
        let Device::Online(person) = &self.devices[self.in_hand] else {
            return Ok(());
        };
        let sending = person.client().send(Draft::new(place.target(), &content));
        if !takes_back {
            self.open.push_back(sending);
            return Ok(());
        }
        let sent = sending.await?;
        person.recall(&sent.conversation_id, sent.seq).await?;
        self.recalls += 1;
        self.acked.send_modify(|it| *it += 2);
        Ok(())
    }

    /// Waits until at most so many messages are without a receipt.
    async fn settle(&mut self, most: usize) -> anyhow::Result<()> {
        while self.open.len() > most
            && let Some(sending) = self.open.pop_front()
        {
            sending.await?;
            self.acked.send_modify(|it| *it += 1);
        }
        Ok(())
    }

    fn bring_back(&mut self, at: usize) {
        self.devices[at] = match std::mem::replace(&mut self.devices[at], Device::Changing) {
            Device::Away(away) => Device::Online(away.back()),
            as_it_is => as_it_is,
        };
    }

    /// A device that he does not hold goes away, or comes back. What was written on it before has its receipts: it was settled when he put it down.
    async fn switch_another(&mut self) -> anyhow::Result<()> {
        let at = self.rng.random_range(0..self.devices.len());
        if at == self.in_hand {
            return Ok(());
        }
        self.devices[at] = match std::mem::replace(&mut self.devices[at], Device::Changing) {
            Device::Online(person) => Device::Away(person.leave().await?),
            Device::Away(away) => Device::Online(away.back()),
            Device::Changing => Device::Changing,
        };
        Ok(())
    }
}

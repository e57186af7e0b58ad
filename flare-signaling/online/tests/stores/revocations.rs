//! `RevocationStore`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use flare_signaling_online::{
    application::ports::{PortError, RevocationStore},
    domain::revocation::DeviceKey,
};

use crate::{Obligation, Outcome, place::Place, same, violated};

/// A way to break one obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    KeepsInMemory,
    NotesInMemory,
    GoesBack,
    AnswersFromBefore,
    LooksAtTheDeviceAlone,
}

/// A store, and a flaw in front of it.
struct Flawed {
    place: Place,
    inner: Arc<dyn RevocationStore>,
    flaw: Option<Flaw>,
    memory: Mutex<HashMap<DeviceKey, i64>>,
    /// What was noted, where a flaw answers without the store.
    notes: Mutex<Vec<(DeviceKey, i64)>>,
    /// What each question got before.
    answered: Mutex<HashMap<DeviceKey, i64>>,
}

impl Flawed {
    async fn open(place: Place, flaw: Option<Flaw>) -> Result<Self, String> {
        Ok(Self {
            inner: place.open().await?,
            place,
            flaw,
            memory: Mutex::default(),
            notes: Mutex::default(),
            answered: Mutex::default(),
        })
    }

    /// As after the process's death: what is not in the rows is gone.
    async fn restarts(self) -> Result<Self, String> {
        let mut store = Self::open(self.place.clone(), self.flaw).await?;
        if self.flaw != Some(Flaw::NotesInMemory) {
            store.notes = self.notes;
        }
        Ok(store)
    }

    async fn stands(&self, device: &DeviceKey) -> Result<i64, PortError> {
        match self.flaw {
            Some(Flaw::KeepsInMemory) => {
                let memory = self.memory.lock().unwrap();
                let whole = memory.get(&device.whole_user()).copied();
                Ok(whole.max(memory.get(device).copied()).unwrap_or_default())
            }
            Some(Flaw::GoesBack) => {
                let last = self.memory.lock().unwrap().get(device).copied();
                let whole = self.of(&device.whole_user()).await?;
                match last {
                    Some(last) => Ok(last.max(whole)),
                    None => self.of(device).await,
                }
            }
            Some(Flaw::LooksAtTheDeviceAlone) => {
                let memory = self.memory.lock().unwrap();
                Ok(memory.get(device).copied().unwrap_or_default())
            }
            Some(Flaw::AnswersFromBefore | Flaw::NotesInMemory) | None => self.of(device).await,
        }
    }

    async fn of(&self, device: &DeviceKey) -> Result<i64, PortError> {
        let answers = self.inner.not_before(std::slice::from_ref(device)).await?;
        Ok(answers.first().copied().unwrap_or_default())
    }
}

#[async_trait]
impl RevocationStore for Flawed {
    async fn revoke(&self, device: &DeviceKey, now_s: i64) -> Result<i64, PortError> {
        let noted = self.notes.lock().unwrap().clone();
        let noted = noted
            .iter()
            .filter(|(it, _)| it == device || it.whole_user() == *device);
        let not_before_s = noted.map(|(_, at)| *at).fold(now_s, i64::max);
        let stands = if self.flaw == Some(Flaw::KeepsInMemory) {
            let memory = self.memory.lock().unwrap();
            memory.get(device).copied().unwrap_or(0).max(not_before_s)
        } else {
            self.inner.revoke(device, not_before_s).await?
        };
        let kept = if self.flaw == Some(Flaw::GoesBack) {
            not_before_s
        } else {
            stands
        };
        self.memory.lock().unwrap().insert(device.clone(), kept);
        Ok(kept)
    }

    async fn note_issued(&self, tokens: &[(DeviceKey, i64)], now_s: i64) -> Result<(), PortError> {
        if self.flaw.is_some() {
            self.notes.lock().unwrap().extend_from_slice(tokens);
        }
        match self.flaw {
            Some(Flaw::NotesInMemory) => Ok(()),
            _ => self.inner.note_issued(tokens, now_s).await,
        }
    }

    async fn not_before(&self, devices: &[DeviceKey]) -> Result<Vec<i64>, PortError> {
        let mut answers = Vec::new();
        for device in devices {
            let stands = self.stands(device).await?;
            let mut answered = self.answered.lock().unwrap();
            let before = *answered.entry(device.clone()).or_insert(stands);
            answers.push(match self.flaw {
                Some(Flaw::AnswersFromBefore) => before,
                _ => stands,
            });
        }
        Ok(answers)
    }
}

fn device(name: &str) -> DeviceKey {
    DeviceKey {
        tenant: "t".to_owned(),
        user: "alice".to_owned(),
        device: name.to_owned(),
    }
}

async fn subject(flaw: Option<Flaw>) -> Result<Flawed, String> {
    Flawed::open(Place::fresh().await?, flaw).await
}

async fn revoke(store: &Flawed, name: &str, not_before_s: i64) -> Result<i64, String> {
    let revoked = store.revoke(&device(name), not_before_s).await;
    revoked.map_err(|error| error.to_string())
}

async fn not_before(store: &Flawed, names: &[&str]) -> Result<Vec<i64>, String> {
    let devices: Vec<_> = names.iter().map(|it| device(it)).collect();
    let answers = store.not_before(&devices).await;
    answers.map_err(|error| error.to_string())
}

async fn durable(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw).await?;
    revoke(&store, "phone", 7).await?;
    let store = store.restarts().await?;
    // Whatever the restart has in memory must have come from the rows.
    let stands = store.inner.not_before(&[device("phone")]).await;
    same(
        "after a restart",
        stands.map_err(|error| error.to_string())?,
        vec![7],
    )
}

async fn note(store: &Flawed, tokens: &[(&str, i64)], now_s: i64) -> Outcome {
    let tokens: Vec<_> = tokens.iter().map(|(it, at)| (device(it), *at)).collect();
    let noted = store.note_issued(&tokens, now_s).await;
    noted.map_err(|error| error.to_string())
}

async fn what_was_seen_dies(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw).await?;
    note(&store, &[("phone", 9), ("tablet", 8)], 5).await?;
    note(&store, &[("phone", 7)], 5).await?;
    let store = store.restarts().await?;
    for (name, stands) in [("laptop", 6), ("phone", 9), ("", 9)] {
        same(name, revoke(&store, name, 6).await?, stands)?;
    }
    Ok(())
}

async fn only_forward(flaw: Option<Flaw>) -> Outcome {
    let it = subject(flaw).await?;
    revoke(&it, "phone", 7).await?;
    let stands = revoke(&it, "phone", 5).await?;
    same("what stands", stands, 7)?;
    same("what is said", not_before(&it, &["phone"]).await?, vec![7])
}

async fn seen_at_once(flaw: Option<Flaw>) -> Outcome {
    let it = subject(flaw).await?;
    same("before", not_before(&it, &["phone"]).await?, vec![0])?;
    revoke(&it, "phone", 7).await?;
    same("after", not_before(&it, &["phone"]).await?, vec![7])
}

async fn both_levels(flaw: Option<Flaw>) -> Outcome {
    let it = subject(flaw).await?;
    revoke(&it, "", 5).await?;
    revoke(&it, "phone", 7).await?;
    revoke(&it, "tablet", 3).await?;
    let stands = not_before(&it, &["laptop", "phone", "tablet"]).await?;
    same("what stands", stands, vec![5, 7, 5])
}

const OBLIGATIONS: [Obligation<Flaw>; 5] = [
    ("durable", |flaw| Box::pin(durable(flaw))),
    ("what_was_seen_dies", |flaw| {
        Box::pin(what_was_seen_dies(flaw))
    }),
    ("only_forward", |flaw| Box::pin(only_forward(flaw))),
    ("seen_at_once", |flaw| Box::pin(seen_at_once(flaw))),
    ("both_levels", |flaw| Box::pin(both_levels(flaw))),
];

#[tokio::test]
async fn the_store_keeps_every_obligation() {
    for (name, check) in OBLIGATIONS {
        assert_eq!(check(None).await, Ok(()), "{name}");
    }
}

#[tokio::test]
async fn a_store_that_breaks_one_obligation_fails_that_test_only() {
    let flaws = [
        Flaw::KeepsInMemory,
        Flaw::NotesInMemory,
        Flaw::GoesBack,
        Flaw::AnswersFromBefore,
        Flaw::LooksAtTheDeviceAlone,
    ];
    for (flaw, (name, _)) in flaws.into_iter().zip(OBLIGATIONS) {
        assert_eq!(violated(&OBLIGATIONS, Some(flaw)).await, [name], "{flaw:?}");
    }
}

#[tokio::test]
async fn the_store_forgets_notes_that_the_clock_has_reached() {
    let it = subject(None).await.unwrap();
    note(&it, &[("phone", 9), ("tablet", 12)], 5).await.unwrap();
    note(&it, &[("laptop", 20)], 10).await.unwrap();
    assert_eq!(revoke(&it, "phone", 8).await, Ok(8));
    assert_eq!(revoke(&it, "tablet", 8).await, Ok(12));
}

#[tokio::test]
async fn the_store_forgets_revocations_whose_tokens_have_all_expired() {
    const YEAR_AND_A_DAY: i64 = 367 * 86_400;
    let it = subject(None).await.unwrap();
    for (name, at) in [("phone", 10), ("tablet", 11), ("laptop", 12)] {
        revoke(&it, name, at).await.unwrap();
    }
    let names = ["phone", "tablet", "laptop"];
    revoke(&it, "desk", 10 + YEAR_AND_A_DAY).await.unwrap();
    let stands = not_before(&it, &names).await.unwrap();
    assert_eq!(stands, [10, 11, 12], "a token may still be good");
    revoke(&it, "desk", 13 + YEAR_AND_A_DAY).await.unwrap();
    let stands = not_before(&it, &names).await.unwrap();
    assert_eq!(stands, [0, 0, 12], "two go, the oldest first");
    revoke(&it, "desk", 13 + YEAR_AND_A_DAY).await.unwrap();
    assert_eq!(not_before(&it, &["laptop"]).await, Ok(vec![0]));
}

//! What processes that write at the same time do to the rows.

use std::sync::Arc;

use flare_signaling_online::{application::ports::RevocationStore, domain::revocation::DeviceKey};

use crate::place::Place;

const PROCESSES: i64 = 4;
const DEVICES: [&str; 4] = ["", "phone", "tablet", "laptop"];

fn device(name: &str) -> DeviceKey {
    DeviceKey {
        tenant: "t".to_owned(),
        user: "alice".to_owned(),
        device: name.to_owned(),
    }
}

/// Revokes, notes and lets old rows go, in an order of its own.
async fn works(store: Arc<dyn RevocationStore>, process: i64) {
    for round in 0..40 {
        let now_s = 1_000_000_000 + round;
        let mut noted: Vec<_> = DEVICES
            .iter()
            .map(|it| (device(it), now_s + 30 - process))
            .collect();
        if process % 2 == 0 {
            noted.reverse();
        }
        store.note_issued(&noted, now_s - 100).await.unwrap();
        let name = DEVICES[((round + process) % 4) as usize];
        let stands = store.revoke(&device(name), now_s).await.unwrap();
        assert!(stands >= now_s + 30 - process, "what was noted dies");
        let told = store.not_before(&[device(name)]).await.unwrap();
        assert!(told[0] >= stands, "{told:?}: what stands is seen at once");
        // Long ago: it goes with one of the next.
        store
            .revoke(&device(&format!("{process}-{round}")), 5)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_revoke_at_once_wait_for_each_other_and_nothing_falls_back() {
    let place = Place::fresh().await.unwrap();
    let mut working = Vec::new();
    for process in 0..PROCESSES {
        working.push(tokio::spawn(works(place.open().await.unwrap(), process)));
    }
    for it in working {
        it.await.unwrap();
    }
    let store = place.open().await.unwrap();
    let whole = store.not_before(&[device("")]).await.unwrap()[0];
    for name in DEVICES {
        let stands = store.not_before(&[device(name)]).await.unwrap()[0];
        assert!(stands >= whole.max(1_000_000_030), "{name}: {stands}");
    }
}

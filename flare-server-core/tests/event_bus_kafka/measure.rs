use crate::kafka::{DEADLINE, TOPIC, bus_with_topic, fresh, make};
use crate::recorder::number;
use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::event_bus::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Clocked(Instant, Mutex<Vec<f64>>, tokio::sync::watch::Sender<usize>);
#[async_trait]
impl BatchHandler for Clocked {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let now = self.0.elapsed().as_nanos() as u64;
        let mut all = self.1.lock().unwrap();
        for r in batch {
            all.push((now - number(r)) as f64 / 1e6);
        }
        self.2.send_replace(all.len());
        Handled::Ok
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure_latency() {
    let config = fresh();
    make(&config, &[TOPIC, "flare.test.events.dlq"]).await;
    let bus = KafkaEventBus::open(&config, KafkaBusOptions::default()).unwrap();
    let h = Arc::new(Clocked(
        Instant::now(),
        Mutex::default(),
        tokio::sync::watch::Sender::new(0),
    ));
    let _s = bus.subscribe(TOPIC, "g", h.clone()).await.unwrap();
    let mut ack = Vec::new();
    for i in 0..3000u64 {
        let t = Instant::now();
        bus.publish(
            TOPIC,
            Bytes::from((i % 40).to_le_bytes().to_vec()),
            Bytes::from((h.0.elapsed().as_nanos() as u64).to_le_bytes().to_vec()),
        )
        .await
        .unwrap();
        ack.push(t.elapsed().as_secs_f64() * 1e3);
        let mut w = h.2.subscribe();
        w.wait_for(|n| *n > i as usize).await.unwrap();
    }
    let p = |v: &mut Vec<f64>| {
        v.sort_by(f64::total_cmp);
        (v[v.len() / 2], v[v.len() * 99 / 100], v[v.len() - 1])
    };
    let mut tail = h.1.lock().unwrap().split_off(500);
    eprintln!(
        "MEASURE one by one: publish {:?} ms, publish to handle {:?} ms",
        p(&mut ack.split_off(500)),
        p(&mut tail)
    );
    // batches
    let begun = Instant::now();
    let n = 200u64;
    for b in 0..n {
        let records = (0..1000u64).map(|i| {
            (
                Bytes::from(((b * 1000 + i) % 400).to_le_bytes().to_vec()),
                Bytes::from({
                    let mut v = (h.0.elapsed().as_nanos() as u64).to_le_bytes().to_vec();
                    v.truncate(8);
                    v
                }),
            )
        });
        bus.publish_batch(TOPIC, records.collect()).await.unwrap();
    }
    let published = begun.elapsed();
    let t = Instant::now();
    bus.caught_up(TOPIC, "g").await.unwrap();
    eprintln!(
        "MEASURE 200 batches of 1000: published in {published:?}, caught up {:?} later, {} records",
        t.elapsed(),
        h.1.lock().unwrap().len()
    );
    let mut c = Vec::new();
    for _ in 0..200 {
        let t = Instant::now();
        bus.caught_up(TOPIC, "g").await.unwrap();
        c.push(t.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("MEASURE caught_up when it is: {:?} ms", p(&mut c));
}

#[derive(Default)]
struct Ledger(Mutex<HashMap<Bytes, Vec<u64>>>);
struct Writer(Arc<Ledger>);
#[async_trait]
impl BatchHandler for Writer {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let mut keys = self.0.0.lock().unwrap();
        for r in batch {
            keys.entry(r.key.clone()).or_default().push(number(r));
        }
        Handled::Ok
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure_restart() {
    let (_, bus) = bus_with_topic().await;
    let ledger = Arc::new(Ledger::default());
    let _a = bus
        .subscribe(TOPIC, "g", Arc::new(Writer(ledger.clone())))
        .await
        .unwrap();
    let _b = bus
        .subscribe(TOPIC, "g", Arc::new(Writer(ledger.clone())))
        .await
        .unwrap();
    let begun = Instant::now();
    let (mut next, mut longest, mut failures) = (0u64, Duration::ZERO, 0);
    let mut killer = None;
    while begun.elapsed() < Duration::from_secs(40) {
        if killer.is_none() && begun.elapsed() > Duration::from_secs(3) {
            killer = Some(
                std::process::Command::new("/tmp/w/kafka-bus/restart.sh")
                    .spawn()
                    .unwrap(),
            );
        }
        let batch: Vec<_> = (next..next + 20)
            .map(|n| {
                (
                    Bytes::from((n % 40).to_le_bytes().to_vec()),
                    Bytes::from(n.to_le_bytes().to_vec()),
                )
            })
            .collect();
        let t = Instant::now();
        while let Err(error) = bus.publish_batch(TOPIC, batch.clone()).await {
            failures += 1;
            if failures < 5 {
                eprintln!("MEASURE failed after {:?}: {error}", t.elapsed());
            }
            drop(
                tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>())
                    .await,
            );
        }
        longest = longest.max(t.elapsed());
        next += 20;
    }
    killer.unwrap().wait().unwrap();
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "g"))
        .await
        .unwrap()
        .unwrap();
    let keys = ledger.0.lock().unwrap();
    let mut again = 0;
    for key in 0..40u64 {
        let mut due = key;
        for n in &keys[&key.to_le_bytes()[..]] {
            assert!(*n <= due, "{n} before {due}");
            if *n == due { due += 40 } else { again += 1 }
        }
        assert!(due >= next);
    }
    eprintln!(
        "MEASURE restart: {next} published, longest publish {longest:?}, {failures} failed, {again} came again, all in order"
    );
}

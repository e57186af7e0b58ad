
use std::sync::Arc; use std::time::*; use bytes::Bytes;
use flare_server_core::log_file::*;
#[tokio::test(flavor="multi_thread", worker_threads=2)]
async fn stall() {
    let dir = tempfile::tempdir().unwrap();
    let t=Instant::now();
    let log = Arc::new(AsyncLog::open(Arc::new(DiskLayer), dir.path(), AsyncLogOptions::default()).unwrap());
    eprintln!("open {:?}", t.elapsed());
    let mut times=vec![];
    for i in 0..4000u64 { let t=Instant::now(); log.append(vec![Bytes::from(vec![i as u8; 60_000])]).await.unwrap(); times.push(t.elapsed()); }
    let worst=times.iter().enumerate().max_by_key(|x|x.1).unwrap(); eprintln!("worst {:?}", worst);
    times.sort(); eprintln!("p50 {:?} p99 {:?} p999 {:?}", times[2000], times[3960], times[3996]);
    let mut lone=vec![]; for _ in 0..2000 { let t=Instant::now(); log.append(vec![Bytes::from_static(&[1;300])]).await.unwrap(); lone.push(t.elapsed()); }
    lone.sort(); eprintln!("small p50 {:?} p99 {:?}", lone[1000], lone[1980]);
    let t=Instant::now(); let mut n=0; 
    let tasks: Vec<_>=(0..1000).map(|_| { let log=log.clone(); tokio::spawn(async move { for _ in 0..50 { log.append(vec![Bytes::from_static(&[1;300])]).await.unwrap(); } }) }).collect();
    for t in tasks { t.await.unwrap(); n+=50; } eprintln!("{} appends/s", n as f64/t.elapsed().as_secs_f64());
    let t=Instant::now(); drop(log); eprintln!("close {:?}", t.elapsed());
    let t=Instant::now(); let log=AsyncLog::open(Arc::new(DiskLayer), dir.path(), AsyncLogOptions::default()).unwrap(); eprintln!("reopen of {} MiB {:?}", std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum::<u64>()>>20, t.elapsed());
    let t=Instant::now(); let mut at=0; while at<log.reader().end() { at+=log.read(at,1<<20).await.unwrap().records.len() as u64; } eprintln!("read all {:?}", t.elapsed());
}

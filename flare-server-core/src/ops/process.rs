//! What Linux says of the process, under the names that Prometheus' own clients use.

use procfs::{
    ProcResult, boot_time_secs, page_size,
    process::{LimitValue, Process},
    ticks_per_second,
};

/// Sets the metrics.
pub(super) fn look() -> ProcResult<()> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = ticks_per_second();
    metrics::counter!("process_cpu_seconds_total").absolute((stat.utime + stat.stime) / ticks);
    metrics::gauge!("process_resident_memory_bytes").set((stat.rss * page_size()) as f64);
    metrics::gauge!("process_virtual_memory_bytes").set(stat.vsize as f64);
    metrics::gauge!("process_threads").set(stat.num_threads as f64);
    let begun_s = boot_time_secs()? + stat.starttime / ticks;
    metrics::gauge!("process_start_time_seconds").set(begun_s as f64);
    metrics::gauge!("process_open_fds").set(process.fd_count()? as f64);
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        metrics::gauge!("process_max_fds").set(most as f64);
    }
    Ok(())
}

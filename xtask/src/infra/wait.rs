//! Waiting for what other processes do.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between the first two looks. It doubles, up to the longest.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(160);

/// Looks until there is something, for at most so long.
#[expect(
    clippy::disallowed_methods,
    reason = "another process tells nobody when it is ready or gone, and no async worker is here to stall"
)]
pub(super) fn until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    let mut step = SHORTEST;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(step);
        step = LONGEST.min(step * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_again_until_there_is_something() {
        let mut looks = 0;
        let seen = until(Duration::from_secs(60), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen, Some(3));
    }

    #[test]
    fn it_looks_at_least_once_and_ends_at_the_deadline() {
        let mut looks = 0;
        let seen = until(Duration::ZERO, || -> Option<()> {
            looks += 1;
            None
        });
        assert_eq!((seen, looks), (None, 1));
    }
}

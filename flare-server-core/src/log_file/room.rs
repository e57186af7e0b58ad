use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Whether the disk has room for appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomState {
    /// Appends are taken.
    Enough,
    /// Appends are refused until room is made.
    Low {
        /// Bytes free when it was last looked at.
        free_bytes: u64,
        /// Bytes that must be free before appends resume.
        needed_bytes: u64,
    },
}

/// The last look at the free bytes of a disk. Goes low below `min`, and comes back at twice that,
/// so that it does not flutter.
#[derive(Debug)]
pub(super) struct Room {
    min: u64,
    low: AtomicBool,
    free: AtomicU64,
}

impl Room {
    pub(super) fn new(min: u64) -> Self {
        Self {
            min,
            low: AtomicBool::new(false),
            free: AtomicU64::new(u64::MAX),
        }
    }

    /// Takes note of the free bytes; true if the state changed.
    pub(super) fn update(&self, free: u64) -> bool {
        self.free.store(free, Relaxed);
        let needed = if self.low.load(Relaxed) {
            self.min.saturating_mul(2)
        } else {
            self.min
        };
        let low = free < needed;
        self.low.swap(low, Relaxed) != low
    }

    pub(super) fn state(&self) -> RoomState {
        if self.low.load(Relaxed) {
            RoomState::Low {
                free_bytes: self.free.load(Relaxed),
                needed_bytes: self.min.saturating_mul(2),
            }
        } else {
            RoomState::Enough
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_low_below_the_minimum_and_comes_back_at_twice_that() {
        let room = Room::new(100);
        assert!(!room.update(100));
        assert_eq!(room.state(), RoomState::Enough);
        assert!(room.update(99));
        assert_eq!(
            room.state(),
            RoomState::Low {
                free_bytes: 99,
                needed_bytes: 200
            }
        );
        assert!(!room.update(199));
        assert_eq!(
            room.state(),
            RoomState::Low {
                free_bytes: 199,
                needed_bytes: 200
            }
        );
        assert!(room.update(200));
        assert_eq!(room.state(), RoomState::Enough);
    }
}

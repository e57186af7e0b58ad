//! What may wait: so many things, so many bytes.

use std::sync::{Arc, Mutex, PoisonError};

/// A bound on things that wait, counted where they are made and given back where they end.
#[derive(Debug)]
pub(crate) struct Permits {
    max_count: usize,
    max_bytes: usize,
    taken: Mutex<(usize, usize)>,
}

/// A share of the bound.
#[derive(Debug)]
pub(crate) struct Permit {
    of: Arc<Permits>,
    bytes: usize,
}

impl Permits {
    pub(crate) fn new(max_count: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_count,
            max_bytes,
            taken: Mutex::default(),
        })
    }

    /// A share for one thing of so many bytes.
    ///
    /// # Errors
    /// If the bound is reached: how much is taken, things and bytes.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Permit, (usize, usize)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, sum) = *taken;
        let fits =
            count < self.max_count && (count == 0 || sum.saturating_add(bytes) <= self.max_bytes);
        if !fits {
            return Err((count, sum));
        }
        *taken = (count + 1, sum + bytes);
        drop(taken);
        Ok(Permit {
            of: Arc::clone(self),
            bytes,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.0 -= 1;
        taken.1 -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_makes_room_again() {
        let permits = Permits::new(2, 10);
        let first = permits.take(6).unwrap();
        assert_eq!(permits.take(5).unwrap_err(), (1, 6));
        let second = permits.take(4).unwrap();
        assert_eq!(permits.take(0).unwrap_err(), (2, 10));
        drop(first);
        let third = permits.take(6).unwrap();
        drop((second, third));
        // One thing alone may be of any size: the server decides on it.
        assert!(permits.take(1_000).is_ok());
    }
}

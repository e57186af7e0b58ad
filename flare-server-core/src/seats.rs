//! How many connections a listener may have, in all and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::Gauge;

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSeat {
    /// All are taken.
    #[error("the server has {limit} connections, the most that may be")]
    Full {
        /// How many there may be.
        limit: usize,
    },
    /// The address has all that it may have.
    #[error("your address has {limit} connections, the most that may be")]
    AddressFull {
        /// How many an address may have.
        limit: usize,
    },
}

/// The seats of a listener. Clones share one state.
#[derive(Clone)]
pub struct Seats {
    max: usize,
    max_per_address: usize,
    taken: Arc<Mutex<Taken>>,
    gauge: Gauge,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's seat; given back when dropped.
pub struct Seat {
    seats: Seats,
    address: IpAddr,
}

impl Seats {
    /// None taken. `gauge` shows how many are.
    pub fn new(max: usize, max_per_address: usize, gauge: Gauge) -> Self {
        Self {
            max,
            max_per_address,
            taken: Arc::default(),
            gauge,
        }
    }

    /// Takes one. An IPv4 address within IPv6 counts as itself.
    ///
    /// # Errors
    /// If there is none left.
    pub fn take(&self, address: IpAddr) -> Result<Seat, NoSeat> {
        let address = address.to_canonical();
        let mut taken = self.lock();
        if taken.all >= self.max {
            return Err(NoSeat::Full { limit: self.max });
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or_default();
        if of_address >= self.max_per_address {
            return Err(NoSeat::AddressFull {
                limit: self.max_per_address,
            });
        }
        taken.by_address.insert(address, of_address + 1);
        taken.all += 1;
        drop(taken);
        // Of all doors of the process together.
        self.gauge.increment(1);
        Ok(Seat {
            seats: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        self.seats.gauge.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn seats_are_limited_in_all_and_by_address() {
        let seats = Seats::new(3, 2, Gauge::noop());
        let first = seats.take(HERE).expect("the first");
        let _second = seats
            .take(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()))
            .expect("the second");
        let refused = |address| seats.take(address).map(drop);
        assert_eq!(refused(HERE), Err(NoSeat::AddressFull { limit: 2 }));
        let _third = seats.take(THERE).expect("the third");
        assert_eq!(refused(THERE), Err(NoSeat::Full { limit: 3 }));
        drop(first);
        assert_eq!(refused(HERE), Ok(()));
        assert_eq!(seats.lock().all, 2);
    }
}

//! How many connections there may be, in all and from one address.

use std::{collections::HashMap, net::IpAddr};

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

/// The seats that are taken.
#[derive(Debug)]
pub struct Seats {
    max: usize,
    max_per_address: usize,
    taken: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Seats {
    /// None taken.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            max,
            max_per_address,
            taken: 0,
            by_address: HashMap::new(),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// If there is none left.
    pub fn take(&mut self, address: IpAddr) -> Result<(), NoSeat> {
        if self.taken >= self.max {
            return Err(NoSeat::Full { limit: self.max });
        }
        let of_address = self.by_address.entry(address).or_default();
        if *of_address >= self.max_per_address {
            return Err(NoSeat::AddressFull {
                limit: self.max_per_address,
            });
        }
        *of_address += 1;
        self.taken += 1;
        Ok(())
    }

    /// Gives back one that was taken.
    pub fn give_back(&mut self, address: IpAddr) {
        if let Some(of_address) = self.by_address.get_mut(&address) {
            *of_address -= 1;
            self.taken -= 1;
            if *of_address == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn seats_are_limited_in_all_and_by_address() {
        let mut seats = Seats::new(3, 2);
        assert_eq!([seats.take(HERE), seats.take(HERE)], [Ok(()), Ok(())]);
        assert_eq!(seats.take(HERE), Err(NoSeat::AddressFull { limit: 2 }));
        assert_eq!(seats.take(THERE), Ok(()));
        assert_eq!(seats.take(THERE), Err(NoSeat::Full { limit: 3 }));
        seats.give_back(HERE);
        assert_eq!((seats.taken(), seats.take(HERE)), (2, Ok(())));
    }
}

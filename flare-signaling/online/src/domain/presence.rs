//! Who is connected where.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::domain::revocation::DeviceKey;

/// A gateway's incarnation and where its inner side answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// Made at the gateway's start.
    pub incarnation: String,
    /// Where its inner side answers; empty: in this process.
    pub endpoint: String,
}

/// A device's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub device: DeviceKey,
    /// What kind of device, in its own words.
    pub platform: String,
    /// Unique in its gateway's incarnation, rising.
    pub connection_id: u64,
    /// Unix milliseconds.
    pub connected_ms: i64,
}

/// Where a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its gateway.
    pub gateway: Gateway,
    /// Its id there.
    pub connection_id: u64,
    /// Its device's id.
    pub device: String,
    /// What kind of device.
    pub platform: String,
    /// Unix milliseconds.
    pub connected_ms: i64,
}

/// On what a gateway's connections stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Never 0, and never given twice.
    pub id: u64,
    /// When it ends, on a clock that only goes forward.
    pub until: Duration,
}

/// What a registration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It stands; another connection of the device was displaced and must be closed.
    Stands {
        /// The connection that it took the place of.
        displaced: Option<Located>,
    },
    /// The user has as many devices connected as he may.
    TooManyDevices,
    /// A later connection of the same device stands already: this one is the displaced.
    Outdated,
}

/// All connections, by user and by gateway. What `by_gateway` names is in `users`, and the other way round.
#[derive(Debug, Default)]
pub struct PresenceTable {
    users: HashMap<(String, String), BTreeMap<String, Entry>>,
    gateways: HashMap<String, Held>,
}

#[derive(Debug)]
struct Entry {
    incarnation: String,
    connection_id: u64,
    platform: String,
    connected_ms: i64,
}

impl Entry {
    /// Whether it connected later than a connection of a gateway. One gateway's ids rise, whatever its clock does.
    fn is_later_than(&self, incarnation: &str, other: &Connection) -> bool {
        if self.incarnation == incarnation {
            self.connection_id > other.connection_id
        } else {
            self.connected_ms > other.connected_ms
        }
    }
}

#[derive(Debug)]
struct Held {
    endpoint: String,
    lease: Lease,
    connections: HashMap<u64, DeviceKey>,
}

impl PresenceTable {
    /// Holds a gateway until the end of `lease`. Returns the id of the lease that it is held on: the one that it had, or this one if it had none.
    pub fn renew(&mut self, gateway: &Gateway, lease: Lease) -> u64 {
        let held = self
            .gateways
            .entry(gateway.incarnation.clone())
            .or_insert_with(|| Held {
                endpoint: gateway.endpoint.clone(),
                lease,
                connections: HashMap::new(),
            });
        held.lease.until = lease.until;
        held.lease.id
    }

    /// Puts a connection in its device's place, and holds its gateway as [`Self::renew`] does.
    pub fn register(
        &mut self,
        gateway: &Gateway,
        connection: Connection,
        max_devices: usize,
        lease: Lease,
    ) -> Registered {
        self.renew(gateway, lease);
        let devices = self
            .users
            .entry((
                connection.device.tenant.clone(),
                connection.device.user.clone(),
            ))
            .or_default();
        let displaced = match devices.get(&connection.device.device) {
            Some(entry)
                if entry.incarnation == gateway.incarnation
                    && entry.connection_id == connection.connection_id =>
            {
                return Registered::Stands { displaced: None };
            }
            // Gateways register in bulk after a lost lease: what connected later stands.
            Some(entry) if entry.is_later_than(&gateway.incarnation, &connection) => {
                return Registered::Outdated;
            }
            Some(entry) => self.gateways.get_mut(&entry.incarnation).map(|held| {
                held.connections.remove(&entry.connection_id);
                Located {
                    gateway: Gateway {
                        incarnation: entry.incarnation.clone(),
                        endpoint: held.endpoint.clone(),
                    },
                    connection_id: entry.connection_id,
                    device: connection.device.device.clone(),
                    platform: entry.platform.clone(),
                    connected_ms: entry.connected_ms,
                }
            }),
            None if devices.len() >= max_devices => return Registered::TooManyDevices,
            None => None,
        };
        devices.insert(
            connection.device.device.clone(),
            Entry {
                incarnation: gateway.incarnation.clone(),
                connection_id: connection.connection_id,
                platform: connection.platform,
                connected_ms: connection.connected_ms,
            },
        );
        if let Some(held) = self.gateways.get_mut(&gateway.incarnation) {
            held.connections
                .insert(connection.connection_id, connection.device);
        }
        Registered::Stands { displaced }
    }

    /// Removes a connection, if it is the one that stands. True: the user has no connection left.
    pub fn unregister(
        &mut self,
        incarnation: &str,
        device: &DeviceKey,
        connection_id: u64,
    ) -> bool {
        let user = (device.tenant.clone(), device.user.clone());
        let Some(devices) = self.users.get_mut(&user) else {
            return false;
        };
        let stands = devices.get(&device.device).is_some_and(|entry| {
            entry.incarnation == incarnation && entry.connection_id == connection_id
        });
        if !stands {
            return false;
        }
        devices.remove(&device.device);
        let gone = devices.is_empty();
        if gone {
            self.users.remove(&user);
        }
        if let Some(held) = self.gateways.get_mut(incarnation) {
            held.connections.remove(&connection_id);
        }
        gone
    }

    /// All connections of a user, by device id.
    pub fn connections(&self, tenant: &str, user: &str) -> Vec<Located> {
        let Some(devices) = self.users.get(&(tenant.to_owned(), user.to_owned())) else {
            return Vec::new();
        };
        devices
            .iter()
            .filter_map(|(device, entry)| {
                let held = self.gateways.get(&entry.incarnation)?;
                Some(Located {
                    gateway: Gateway {
                        incarnation: entry.incarnation.clone(),
                        endpoint: held.endpoint.clone(),
                    },
                    connection_id: entry.connection_id,
                    device: device.clone(),
                    platform: entry.platform.clone(),
                    connected_ms: entry.connected_ms,
                })
            })
            .collect()
    }

    /// Forgets gateways whose lease has ended by `now`, with all their connections; returns the users' devices that went.
    pub fn expire(&mut self, now: Duration) -> Vec<DeviceKey> {
        let ended: Vec<String> = self
            .gateways
            .iter()
            .filter(|(_, held)| held.lease.until <= now)
            .map(|(incarnation, _)| incarnation.clone())
            .collect();
        let mut gone = Vec::new();
        for incarnation in ended {
            let Some(held) = self.gateways.remove(&incarnation) else {
                continue;
            };
            for (connection_id, device) in held.connections {
                self.unregister(&incarnation, &device, connection_id);
                gone.push(device);
            }
        }
        gone
    }

    /// When the next lease ends; None: there is none.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.gateways.values().map(|held| held.lease.until).min()
    }

    /// How many connections stand.
    pub fn len(&self) -> usize {
        self.gateways
            .values()
            .map(|held| held.connections.len())
            .sum()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(incarnation: &str) -> Gateway {
        Gateway {
            incarnation: incarnation.to_owned(),
            endpoint: String::new(),
        }
    }

    /// Of this id, until so many seconds of the clock.
    fn lease(id: u64, until_s: u64) -> Lease {
        Lease {
            id,
            until: Duration::from_secs(until_s),
        }
    }

    fn connection(user: &str, device: &str, connection_id: u64) -> Connection {
        let device = DeviceKey {
            tenant: "default".to_owned(),
            user: user.to_owned(),
            device: device.to_owned(),
        };
        Connection {
            device,
            platform: "test".to_owned(),
            connection_id,
            connected_ms: connection_id as i64,
        }
    }

    #[test]
    fn registering_a_device_again_names_the_connection_that_it_displaces() {
        let mut table = PresenceTable::default();
        let stands = Registered::Stands { displaced: None };
        assert_eq!(
            table.register(
                &gateway("g1"),
                connection("a", "phone", 1),
                10,
                lease(1, 100)
            ),
            stands
        );
        assert_eq!(
            table.register(
                &gateway("g1"),
                connection("a", "phone", 1),
                10,
                lease(1, 100)
            ),
            stands,
            "again"
        );
        let Registered::Stands {
            displaced: Some(displaced),
        } = table.register(
            &gateway("g2"),
            connection("a", "phone", 2),
            10,
            lease(1, 100),
        )
        else {
            panic!("nothing was displaced");
        };
        assert_eq!(
            (
                displaced.gateway.incarnation.as_str(),
                displaced.connection_id
            ),
            ("g1", 1)
        );
        assert_eq!(table.len(), 1);
        assert_eq!(
            table.register(
                &gateway("g1"),
                connection("a", "phone", 1),
                10,
                lease(1, 100)
            ),
            Registered::Outdated
        );
    }

    #[test]
    fn unregistering_removes_only_the_connection_that_stands() {
        let mut table = PresenceTable::default();
        table.register(
            &gateway("g1"),
            connection("a", "phone", 1),
            10,
            lease(1, 100),
        );
        table.register(
            &gateway("g1"),
            connection("a", "phone", 2),
            10,
            lease(1, 100),
        );
        let device = connection("a", "phone", 1).device;
        assert!(
            !table.unregister("g1", &device, 1),
            "the displaced one's goodbye"
        );
        assert_eq!(table.connections("default", "a").len(), 1);
        assert!(table.unregister("g1", &device, 2));
        assert!(table.is_empty());
        assert_eq!(table.connections("default", "a"), []);
    }

    #[test]
    fn a_lease_that_is_not_renewed_takes_its_connections_with_it() {
        let mut table = PresenceTable::default();
        let at = Duration::from_secs;
        table.register(
            &gateway("g1"),
            connection("a", "phone", 1),
            10,
            lease(1, 100),
        );
        table.register(
            &gateway("g2"),
            connection("a", "desk", 1),
            10,
            lease(2, 300),
        );
        table.renew(&gateway("g1"), lease(3, 200));
        assert!(table.expire(at(199)).is_empty());
        assert_eq!(table.next_expiry(), Some(at(200)));
        assert_eq!(table.expire(at(200)), [connection("a", "phone", 1).device]);
        assert_eq!(table.connections("default", "a").len(), 1);
    }

    #[test]
    fn a_gateway_keeps_the_lease_on_which_it_began_to_be_held() {
        let mut table = PresenceTable::default();
        assert_eq!(table.renew(&gateway("g1"), lease(1, 100)), 1);
        table.register(
            &gateway("g2"),
            connection("a", "desk", 1),
            10,
            lease(2, 100),
        );
        assert_eq!(table.renew(&gateway("g1"), lease(3, 100)), 1);
        assert_eq!(
            table.renew(&gateway("g2"), lease(4, 100)),
            2,
            "by a registration"
        );
        table.expire(Duration::from_secs(100));
        assert_eq!(table.renew(&gateway("g1"), lease(5, 200)), 5);
        assert_eq!(table.renew(&gateway("g2"), lease(6, 200)), 6);
    }

    #[test]
    fn of_one_gateway_s_connections_the_higher_id_is_the_later_whatever_the_clock_did() {
        let mut table = PresenceTable::default();
        let at = |connection_id, connected_ms| Connection {
            connected_ms,
            ..connection("a", "phone", connection_id)
        };
        table.register(&gateway("g1"), at(1, 5_000), 10, lease(1, 100));
        assert!(matches!(
            table.register(&gateway("g1"), at(2, 4_000), 10, lease(1, 100)),
            Registered::Stands { displaced: Some(_) }
        ));
        assert_eq!(
            table.register(&gateway("g1"), at(1, 5_000), 10, lease(1, 100)),
            Registered::Outdated
        );
        assert_eq!(table.connections("default", "a")[0].connection_id, 2);
    }

    #[test]
    fn a_user_has_only_so_many_devices_connected() {
        let mut table = PresenceTable::default();
        table.register(&gateway("g1"), connection("a", "1", 1), 2, lease(1, 100));
        table.register(&gateway("g1"), connection("a", "2", 2), 2, lease(1, 100));
        assert_eq!(
            table.register(&gateway("g1"), connection("a", "3", 3), 2, lease(1, 100)),
            Registered::TooManyDevices
        );
        assert!(matches!(
            table.register(&gateway("g1"), connection("a", "2", 4), 2, lease(1, 100)),
            Registered::Stands { displaced: Some(_) }
        ));
        assert!(
            table.connections("other", "a").is_empty(),
            "a user of the same name in another tenant"
        );
    }
}

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
    /// Unix milliseconds by its gateway's clock: for display.
    pub connected_ms: i64,
    /// It has stood before. False: its device connects.
    pub again: bool,
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
    /// Unix milliseconds by its gateway's clock: for display.
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
    /// A later connection of the same device stands already, on the same gateway: this one is the displaced.
    Outdated,
    /// It has stood before, and a connection of the same device stands on another gateway. Which of them is the later, nobody knows: it is
    /// for the client that is alive to connect again, which displaces the other.
    Yields,
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
                    && entry.connection_id >= connection.connection_id =>
            {
                return if entry.connection_id == connection.connection_id {
                    Registered::Stands { displaced: None }
                } else {
                    Registered::Outdated
                };
            }
            Some(entry) if connection.again && entry.incarnation != gateway.incarnation => {
                return Registered::Yields;
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

    /// The gateways that are held.
    pub fn gateways(&self) -> Vec<Gateway> {
        let held = self.gateways.iter();
        held.map(|(incarnation, held)| Gateway {
            incarnation: incarnation.clone(),
            endpoint: held.endpoint.clone(),
        })
        .collect()
    }

    /// The id of the lease that a gateway is held on.
    pub fn lease(&self, incarnation: &str) -> Option<u64> {
        self.gateways.get(incarnation).map(|held| held.lease.id)
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
mod tests;

//! The three directories, who tells them, and when what broke off is forgotten.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::gauge;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    config::RouteConfig,
    domain::{
        Refused,
        interest::{Conversation, Gateway, InterestDirectory},
        owners::{OwnerDirectory, Ownership, View},
        services::ServiceDirectory,
    },
};

/// What is known.
pub struct Directories {
    start: Instant,
    grace_ms: u64,
    owners: Mutex<OwnerDirectory>,
    view: watch::Sender<Arc<View>>,
    services: Mutex<ServiceDirectory>,
    interest: Mutex<InterestDirectory>,
    /// Something broke off, and is to be forgotten in time.
    broken: Notify,
}

/// A process that tells, for as long as its stream lasts. Dropped without a farewell: its stream broke.
pub struct Visit {
    directories: Arc<Directories>,
    kind: Kind,
    incarnation: String,
    number: u64,
    said_farewell: bool,
}

/// Gateways that conversations interest.
#[derive(Clone, Debug)]
pub struct Interested {
    /// In the order of the question.
    pub conversations: Vec<InterestedIn>,
    /// Those that have told all that interests them, and still stand.
    pub gateways: Vec<Gateway>,
}

/// Gateways that a conversation interests.
#[derive(Clone, Debug)]
pub struct InterestedIn {
    /// Where they answer, those too that have broken off of late: sorted, each once.
    pub endpoints: Vec<String>,
    /// By index, of [`Interested::gateways`].
    pub telling: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Kind {
    Owner,
    Interest,
}

/// A business service's registration. Dropped: it is ended.
pub struct Registration {
    directories: Arc<Directories>,
    svid: String,
    number: u64,
}

impl Directories {
    /// Nothing is known.
    pub fn new(config: &RouteConfig) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            grace_ms: config.grace_ms,
            owners: Mutex::new(OwnerDirectory::new(config.max_announcers)),
            view: watch::Sender::default(),
            services: Mutex::new(ServiceDirectory::new(config.max_registrations)),
            interest: Mutex::new(InterestDirectory::new(
                config.max_announcers,
                config.max_interests,
            )),
            broken: Notify::new(),
        })
    }

    /// A process begins to tell which partitions it owns.
    ///
    /// # Errors
    /// As the directory refuses it.
    pub fn announce(
        self: &Arc<Self>,
        incarnation: String,
        endpoint: &str,
        partitions: u32,
        owned: &[Ownership],
    ) -> Result<Visit, Refused> {
        let number =
            self.change_owners(|it| it.begin(&incarnation, endpoint, partitions, owned))?;
        Ok(self.visit(Kind::Owner, incarnation, number))
    }

    /// The directory of partitions, kept current.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// A business service answers at an endpoint.
    ///
    /// # Errors
    /// There is no room.
    pub fn register(
        self: &Arc<Self>,
        svid: String,
        endpoint: &str,
    ) -> Result<Registration, Refused> {
        let mut services = locked(&self.services);
        let number = services.register(&svid, endpoint)?;
        gauge!("flare_route_registrations").set(services.len() as f64);
        Ok(Registration {
            directories: Arc::clone(self),
            svid,
            number,
        })
    }

    /// Where a business service answers.
    pub fn resolve(&self, svid: &str) -> Vec<String> {
        locked(&self.services).resolve(svid)
    }

    /// A gateway begins to tell what interests it.
    ///
    /// # Errors
    /// There is no room.
    pub fn announce_interest(
        self: &Arc<Self>,
        incarnation: String,
        endpoint: &str,
    ) -> Result<Visit, Refused> {
        let number = locked(&self.interest).begin(&incarnation, endpoint)?;
        Ok(self.visit(Kind::Interest, incarnation, number))
    }

    /// Which gateways some conversations interest.
    pub fn interested(&self, conversations: &[Conversation]) -> Interested {
        let interest = locked(&self.interest);
        let gateways = interest.telling();
        let one = |it: &Conversation| InterestedIn {
            endpoints: interest
                .interested(it)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            telling: interest.interested_of(&gateways, it),
        };
        Interested {
            conversations: conversations.iter().map(one).collect(),
            gateways,
        }
    }

    /// Whether whoever had told before this process began has had the time to tell again.
    pub fn is_settled(&self) -> bool {
        self.now_ms() >= self.grace_ms
    }

    /// Forgets in time what broke off; never ends.
    pub async fn keep_tidy(&self) {
        let grace = Duration::from_millis(self.grace_ms);
        loop {
            let owners = locked(&self.owners).first_broken_ms();
            let interest = locked(&self.interest).first_broken_ms();
            let Some(first) = owners.into_iter().chain(interest).min() else {
                self.broken.notified().await;
                continue;
            };
            tokio::time::sleep_until(self.start + Duration::from_millis(first) + grace).await;
            let now_ms = self.now_ms();
            self.change_owners(|it| it.expire(now_ms, self.grace_ms));
            self.change_interest(|it| it.expire(now_ms, self.grace_ms));
        }
    }

    fn visit(self: &Arc<Self>, kind: Kind, incarnation: String, number: u64) -> Visit {
        Visit {
            directories: Arc::clone(self),
            kind,
            incarnation,
            number,
            said_farewell: false,
        }
    }

    /// Changes the directory of partitions, and shows it to whoever watches. The view is made under the lock, so that the last one shown is the latest.
    fn change_owners<T>(&self, change: impl FnOnce(&mut OwnerDirectory) -> T) -> T {
        let mut owners = locked(&self.owners);
        let changed = change(&mut owners);
        gauge!("flare_route_announcers").set(owners.announcers() as f64);
        let view = owners.view();
        gauge!("flare_route_owned_partitions").set(view.owned() as f64);
        self.view.send_if_modified(|shown| {
            let is_other = **shown != view;
            if is_other {
                *shown = Arc::new(view);
            }
            is_other
        });
        changed
    }

    fn change_interest<T>(&self, change: impl FnOnce(&mut InterestDirectory) -> T) -> T {
        let mut interest = locked(&self.interest);
        let changed = change(&mut interest);
        gauge!("flare_route_interests").set(interest.len() as f64);
        changed
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Visit {
    /// What has changed of the partitions that the process owns.
    ///
    /// # Errors
    /// As the directory refuses it.
    pub fn tell(&self, changes: &[Ownership]) -> Result<(), Refused> {
        self.directories
            .change_owners(|it| it.tell(&self.incarnation, self.number, changes))
    }

    /// What has changed of the conversations that interest the gateway. `is_all`: with it, all is told.
    ///
    /// # Errors
    /// As the directory refuses it.
    pub fn tell_interest(
        &self,
        begun: Vec<Conversation>,
        ended: Vec<Conversation>,
        is_all: bool,
    ) -> Result<(), Refused> {
        let (incarnation, number) = (&self.incarnation, self.number);
        self.directories.change_interest(|it| {
            it.tell(incarnation, number, begun, ended)?;
            if is_all {
                it.is_whole(incarnation, number)?;
            }
            Ok(())
        })
    }

    /// The process has nothing to tell any more.
    pub fn farewell(mut self) {
        self.said_farewell = true;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let (incarnation, number) = (&self.incarnation, self.number);
        let directories = &self.directories;
        let now_ms = directories.now_ms();
        match (self.kind, self.said_farewell) {
            (Kind::Owner, true) => directories.change_owners(|it| it.leave(incarnation, number)),
            (Kind::Owner, false) => {
                directories.change_owners(|it| it.break_off(incarnation, number, now_ms));
            }
            (Kind::Interest, true) => {
                directories.change_interest(|it| it.leave(incarnation, number));
            }
            (Kind::Interest, false) => {
                directories.change_interest(|it| it.break_off(incarnation, number, now_ms));
            }
        }
        if !self.said_farewell {
            directories.broken.notify_one();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut services = locked(&self.directories.services);
        services.end(&self.svid, self.number);
        gauge!("flare_route_registrations").set(services.len() as f64);
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What goes wrong in a world, and how often it did.

/// Which faults there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Appends are lost, doubled, late, or nobody knows; questions get no answer.
    pub lossy: bool,
    /// Appends of different owners land in any order.
    pub reorder: bool,
    /// Owners, storage-writer and whole processes with their unsynced appends die.
    pub crashes: bool,
    /// Wall clocks jump.
    pub clock: bool,
    /// Streams and connections break with what was on its way.
    pub breaks: bool,
    /// storage-writer stands still for long.
    pub stalls: bool,
    /// The session answers as it knew things a while ago.
    pub stale: bool,
}

impl Faults {
    /// Everything.
    pub const ALL: Self = Self {
        lossy: true,
        reorder: true,
        crashes: true,
        clock: true,
        breaks: true,
        stalls: true,
        stale: true,
    };
    /// Nothing: what is under way comes to rest.
    pub const NONE: Self = Self {
        lossy: false,
        reorder: false,
        crashes: false,
        clock: false,
        breaks: false,
        stalls: false,
        stale: false,
    };
}

macro_rules! bites {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often the faults bit. A campaign in which they did not proves nothing.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Bites {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Bites {
            /// Adds another run's.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Each with its name.
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

bites! {
    /// Commands that were placed and told so.
    acks,
    /// Among them recalls.
    recalls,
    /// Receipts that were given again.
    duplicates,
    /// Commands that left again.
    retries,
    /// Retryable refusals.
    retryable_refusals,
    /// Final refusals.
    final_refusals,
    /// Retryable refusals that came because an earlier command of the lane was refused.
    refusals_in_order,
    /// Commands that were given up.
    abandons,
    /// Epochs.
    takeovers,
    /// Epochs that an owner found ended.
    losses,
    /// Records that do not count.
    skipped,
    /// Crashes of owners.
    owner_crashes,
    /// Crashes of storage-writer.
    writer_crashes,
    /// Crashes of the machine with all appends that were not reported.
    power_losses,
    /// Appends that a power loss took away.
    torn,
    /// Streams that ended with commands unanswered.
    broken_streams,
    /// Commands whose outcome a broken stream left unknown.
    left_open,
    /// Commands that were refused by somebody who is not the owner, and that nobody was told of.
    redirected,
    /// Streams that their partition has left for another owner.
    handed_over,
    /// Connections that broke.
    broken_connections,
    /// Commands that the gateway gave up.
    expired,
    /// Times at which storage-writer stood still.
    stalls,
    /// Answers of the session that were old.
    stale_answers,
    /// Jumps of the clock.
    clock_jumps,
    /// Changes of members.
    member_changes,
}

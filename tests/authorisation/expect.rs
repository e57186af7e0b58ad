//! What a cell is to be answered.

use flare_proto::common::ErrorCode;

use crate::{caller::Caller, surfaces::answer::Answer};

/// What was said while everybody was still there.
pub(crate) const EARLY: &str = "said-to-all-of-them";
/// What was said when some had gone.
pub(crate) const LATE: &str = "said-after-they-had-gone";

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It is done.
    Done,
    /// He reads up to the newest message.
    Whole,
    /// He reads what there was until he went, and nothing later.
    UntilGone,
    /// It is answered, and nothing of the conversation is in the answer.
    Without,
    /// No answer comes to it by its nature, and nothing comes of it.
    Dropped,
    /// It is refused.
    Refused(ErrorCode),
}

impl Expect {
    /// Whether something is done for the caller that he asked for.
    pub(crate) const fn is_done(self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Dropped)
    }

    /// As the page writes it.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Done | Self::Whole => "yes".to_owned(),
            Self::UntilGone => "yes, until then".to_owned(),
            Self::Without => "yes, nothing of it".to_owned(),
            Self::Dropped => "dropped".to_owned(),
            Self::Refused(code) => format!("`{}`", code.as_str_name()),
        }
    }

    /// What is wrong with an answer.
    pub(crate) fn check(self, answer: &Answer) -> Result<(), String> {
        if let Self::Refused(code) = self {
            return answer.refused(code).map(drop);
        }
        match answer {
            Answer::Refused(error) => {
                let (code, field) = (error.code().as_str_name(), &error.field);
                Err(format!(
                    "want {}, got {code} {field:?}: {}",
                    self.title(),
                    error.message
                ))
            }
            Answer::Done(what) => {
                let [early, late] = [EARLY, LATE].map(|said| contains(what, said.as_bytes()));
                let is_right = match self {
                    Self::Whole => late,
                    Self::UntilGone => early && !late,
                    Self::Without => !early && !late,
                    Self::Done | Self::Dropped | Self::Refused(_) => true,
                };
                is_right.then_some(()).ok_or_else(|| {
                    format!(
                        "want {self:?}: the early message is there: {early}, the late one: {late}"
                    )
                })
            }
        }
    }
}

fn contains(answer: &[u8], said: &[u8]) -> bool {
    answer.windows(said.len()).any(|it| it == said)
}

/// The expectations of a row.
#[derive(Clone, Debug)]
pub(crate) struct Expectations {
    /// In the order of [`Caller::KNOWN`].
    known: [Expect; 7],
    /// In the order of [`Caller::KEYS`]; None: the call is of the client link alone, which takes no keys.
    keys: Option<[Expect; 4]>,
}

impl Expectations {
    /// Of a call that backends may make, too.
    pub(crate) const fn new(known: [Expect; 7], keys: [Expect; 4]) -> Self {
        Self {
            known,
            keys: Some(keys),
        }
    }

    /// Of a frame that is no call of a service.
    pub(crate) const fn of_frame(known: [Expect; 7]) -> Self {
        Self { known, keys: None }
    }

    /// Whether keys are for it.
    pub(crate) const fn takes_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// What the caller is answered, on the client link or elsewhere.
    pub(crate) fn of(&self, caller: Caller, on_link: bool) -> Expect {
        use ErrorCode::{
            DeviceMismatch, ScopeMissing, TokenExpired, TokenRevoked, Unauthenticated,
        };
        if let Some(index) = Caller::KNOWN.iter().position(|it| *it == caller) {
            return self.known[index];
        }
        if caller.has_key() && (on_link || self.keys.is_none()) {
            // The client link knows tokens alone.
            return Expect::Refused(Unauthenticated);
        }
        if let (Some(keys), Some(index)) =
            (self.keys, Caller::KEYS.iter().position(|it| *it == caller))
        {
            return keys[index];
        }
        match caller {
            Caller::Expired => Expect::Refused(TokenExpired),
            Caller::Revoked | Caller::SignedOut => Expect::Refused(TokenRevoked),
            Caller::KeyWithoutScope => Expect::Refused(ScopeMissing),
            Caller::WrongDevice if on_link => Expect::Refused(DeviceMismatch),
            // Nothing but the token names a device there: it is its owner's.
            Caller::WrongDevice => self.known[0],
            _ => Expect::Refused(Unauthenticated),
        }
    }
}

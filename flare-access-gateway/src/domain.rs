//! What the gateway keeps in order, without I/O.

pub mod broken_lanes;
pub mod dispatch;
pub mod in_flight;
pub mod large;
pub mod positions;

/// Who stands at the other end of a connection, as his token says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The tenant.
    pub tenant: Box<str>,
    /// The user.
    pub user: Box<str>,
    /// The device.
    pub device: Box<str>,
}

use flare_proto::{
    client::ErrorFrame,
    common::{Error, ErrorCode},
};

use super::Codec;
use crate::json::{self, JsonError};

/// Why bytes are no frame that this build takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Bigger than the limit of the connection.
    #[error("a frame has at most {limit} bytes, this one has {actual}")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// The frame's size in bytes.
        actual: usize,
    },
    /// Neither protobuf nor JSON, whichever was agreed, or cut off.
    #[error("the frame cannot be read: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
        /// The request's id, if it could be read so far.
        request_id: Option<u32>,
    },
    /// Well formed, but of a kind that this build does not know.
    #[error("frame kind {kind:?} is not known here")]
    UnknownKind {
        /// In protobuf the number of its field, in JSON its name.
        kind: String,
        /// The request's id, if it could be read.
        request_id: Option<u32>,
    },
    /// JSON with a field that the contract has not.
    #[error("unknown field {field:?}")]
    UnknownField {
        /// From the request down, as the client spelt it.
        field: String,
        /// The request's id, if it could be read.
        request_id: Option<u32>,
    },
    /// JSON with a value that is not of its field's type.
    #[error("{}{reason}", json::before_reason(.field))]
    WrongType {
        /// From the request down, in the contract's spelling.
        field: String,
        /// What would have been right.
        reason: String,
        /// The request's id, if it could be read.
        request_id: Option<u32>,
    },
    /// A frame to be sent holds bytes that are not what the contract says, and so cannot be shown as JSON.
    #[error("the frame cannot be written as JSON: {reason}")]
    Unencodable {
        /// What was found.
        reason: String,
    },
}

impl FrameError {
    pub(super) fn from_json(error: JsonError, request_id: Option<u32>) -> Self {
        // The first part of a path is the frame's kind, which the request's own fields do not repeat.
        let within = |field: &str| field.split_once('.').map(|(_, rest)| rest.to_owned());
        match error {
            JsonError::UnknownField { field } => match within(&field) {
                Some(field) => Self::UnknownField { field, request_id },
                None => Self::UnknownKind {
                    kind: field,
                    request_id,
                },
            },
            JsonError::WrongType { field, reason } => Self::WrongType {
                field: within(&field).unwrap_or_default(),
                reason,
                request_id,
            },
            other => Self::Malformed {
                reason: other.to_string(),
                request_id,
            },
        }
    }

    /// The code by which the frame is refused.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            Self::Malformed { .. } => ErrorCode::MalformedFrame,
            Self::UnknownKind { .. } => ErrorCode::Unimplemented,
            Self::UnknownField { .. } | Self::WrongType { .. } => ErrorCode::InvalidArgument,
            Self::Unencodable { .. } => ErrorCode::Internal,
        }
    }

    /// The request's field that was wrong; empty if none can be named.
    pub fn field(&self) -> &str {
        match self {
            Self::UnknownField { field, .. } | Self::WrongType { field, .. } => field,
            _ => "",
        }
    }

    /// The request's id; 0 if the frame could not be read so far.
    pub fn request_id(&self) -> u32 {
        match self {
            Self::Malformed { request_id, .. }
            | Self::UnknownKind { request_id, .. }
            | Self::UnknownField { request_id, .. }
            | Self::WrongType { request_id, .. } => request_id.unwrap_or_default(),
            Self::TooLarge { .. } | Self::Unencodable { .. } => 0,
        }
    }

    /// Whether the connection closes after the refusal: the peer does not speak the protocol, as opposed to asking for what is not there.
    pub fn closes(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Malformed { .. })
    }

    /// The refusal as the frame that answers it.
    pub fn to_frame(&self) -> ErrorFrame {
        ErrorFrame {
            id: self.request_id(),
            error: Some(Error {
                code: self.code().into(),
                message: self.to_string(),
                field: self.field().to_owned(),
                ..Error::default()
            }),
            ..ErrorFrame::default()
        }
    }
}

/// None of the subprotocols that a client offers is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no subprotocol of {offered:?} is known: {} or {}",
    Codec::Proto.subprotocol(),
    Codec::Json.subprotocol()
)]
pub struct UnknownSubprotocols {
    /// What was offered.
    pub offered: String,
}

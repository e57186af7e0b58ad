//! The secret that the processes of one deployment share. Inner services answer only who bears it.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use subtle::ConstantTimeEq;
use tonic::{Status, metadata::MetadataMap, service::Interceptor};

use crate::error::Refusal;
use flare_proto::common::ErrorCode;

/// The header, gRPC metadata to gRPC, that bears the secret.
pub const PEER_HEADER: HeaderName = HeaderName::from_static("x-flare-peer");

/// A shorter secret could be guessed.
const SHORTEST: usize = 32;

/// Why a text cannot be a peer secret. The text itself is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerSecretError {
    /// Too few characters.
    #[error("the peer secret has {0} characters: want {SHORTEST} or more")]
    TooShort(usize),
    /// Not fit for a header.
    #[error("the peer secret has a character that is not visible ASCII")]
    Unprintable,
}

/// The secret. Clones share it; `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct PeerSecret(HeaderValue);

impl PeerSecret {
    /// Takes 32 or more visible ASCII characters.
    pub fn new(text: &str) -> Result<Self, PeerSecretError> {
        if text.len() < SHORTEST {
            return Err(PeerSecretError::TooShort(text.len()));
        }
        if !text.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(PeerSecretError::Unprintable);
        }
        let mut value = HeaderValue::from_str(text).map_err(|_| PeerSecretError::Unprintable)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Takes random bytes, such as a key file's; they travel as hexadecimal digits.
    pub fn from_key(key: &[u8; 32]) -> Result<Self, PeerSecretError> {
        Self::new(
            &key.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        )
    }

    /// Puts the secret on a request, in place of any that it bears.
    pub fn attach<B>(&self, request: &mut Request<B>) {
        request.headers_mut().insert(PEER_HEADER, self.0.clone());
    }

    /// Whether a request with these headers bears the secret, once. Takes as long wherever a wrong one differs.
    pub fn check(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(PEER_HEADER).iter();
        match (given.next(), given.next()) {
            (Some(given), None) => given.as_bytes().ct_eq(self.0.as_bytes()).into(),
            _ => false,
        }
    }

    /// For a client: every request bears the secret.
    pub fn client(&self) -> impl Interceptor + Clone + Send + Sync + 'static {
        let secret = self.0.clone();
        move |mut request: tonic::Request<()>| {
            let mut headers = std::mem::take(request.metadata_mut()).into_headers();
            headers.insert(PEER_HEADER, secret.clone());
            *request.metadata_mut() = MetadataMap::from_headers(headers);
            Ok(request)
        }
    }

    /// For a server: a request without the secret is refused UNAUTHENTICATED.
    pub fn server(&self) -> impl Interceptor + Clone + Send + Sync + 'static {
        let secret = self.clone();
        move |request: tonic::Request<()>| {
            if secret.check(request.metadata().as_ref()) {
                Ok(request)
            } else {
                Err(Status::from(unauthenticated_peer()))
            }
        }
    }
}

/// What a caller that does not bear the secret is told.
pub fn unauthenticated_peer() -> Refusal {
    Refusal::new(
        ErrorCode::Unauthenticated,
        "this service answers the deployment's own processes only",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    fn request(values: &[&str]) -> Request<()> {
        let mut request = Request::new(());
        for value in values {
            request
                .headers_mut()
                .append(PEER_HEADER, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    #[test]
    fn only_the_bearer_of_the_secret_passes() {
        let secret = PeerSecret::new(TEXT).unwrap();
        let mut bearer = request(&["0000"]);
        secret.attach(&mut bearer);
        assert!(secret.check(bearer.headers()));
        for wrong in [
            &[][..],
            &[""],
            &[&TEXT[1..]],
            &["1123456789abcdef0123456789abcdef"],
            &[TEXT, TEXT],
        ] {
            assert!(!secret.check(request(wrong).headers()), "{wrong:?}");
        }
    }

    #[test]
    fn the_client_side_satisfies_the_server_side_and_nothing_else_does() {
        let secret = PeerSecret::new(TEXT).unwrap();
        let bearing = secret.client().call(tonic::Request::new(())).unwrap();
        assert!(secret.server().call(bearing).is_ok());
        let status = secret.server().call(tonic::Request::new(())).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        let other = PeerSecret::from_key(&[7; 32]).unwrap();
        let stranger = other.client().call(tonic::Request::new(())).unwrap();
        assert!(secret.server().call(stranger).is_err());
    }

    #[test]
    fn a_secret_that_could_be_guessed_or_sent_badly_is_refused() {
        assert_eq!(
            PeerSecret::new(&TEXT[1..]).unwrap_err(),
            PeerSecretError::TooShort(31)
        );
        assert_eq!(
            PeerSecret::new(&TEXT.replace('a', "\n")).unwrap_err(),
            PeerSecretError::Unprintable
        );
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", PeerSecret::new(TEXT).unwrap()).contains("0123"));
    }
}

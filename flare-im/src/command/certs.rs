//! `flare certs`: an authority for development, and what it has signed.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use flare_server_core::{
    clock::{Clock, SystemClock},
    tls::PEER_NAME,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::NamedTempFile;
use time::{Duration, OffsetDateTime};

use crate::{cli, output::say};

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const AUTHORITY_DAYS: i64 = 3_650;
/// Clocks differ: certificates are good from a little before they were made.
const EARLIER: Duration = Duration::hours(1);
/// What everybody may read, and what nobody else may.
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;

/// A certificate and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn of(folder: &Path, name: &str) -> Self {
        Self {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}-key.pem")),
        }
    }

    /// Each file is whole at every moment. The key comes first: a server that looks in between keeps what it has, and looks again.
    fn write(&self, certificate: &str, key: &KeyPair) -> anyhow::Result<()> {
        write(&self.key, &key.serialize_pem(), PRIVATE)?;
        write(&self.certificate, certificate, PUBLIC)
    }
}

/// Makes them.
pub fn run(args: &cli::Certs) -> anyhow::Result<()> {
    let folder = &args.out;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let ca = Pair::of(folder, "ca");
    let server = Pair::of(folder, "server");
    let peer = Pair::of(folder, "peer");
    let hosts = if args.hosts.is_empty() {
        LOCAL.map(str::to_owned).into()
    } else {
        args.hosts.clone()
    };
    let authority = match (ca.certificate.exists(), ca.key.exists()) {
        (true, true) if !args.force => open(&ca)?,
        (false, false) => make(&ca)?,
        _ if args.force => make(&ca)?,
        (has_certificate, _) => {
            let missing = if has_certificate {
                &ca.key
            } else {
                &ca.certificate
            };
            bail!(
                "{} is missing beside its other half: bring it back, or make a new authority by --force",
                missing.display()
            );
        }
    };
    let days = i64::from(args.days);
    // A certificate for clients opens no door between processes: it says that it is a server's alone.
    sign(
        &authority,
        &server,
        hosts.clone(),
        days,
        &[ExtendedKeyUsagePurpose::ServerAuth],
    )?;
    let both = [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    sign(&authority, &peer, vec![PEER_NAME.to_owned()], days, &both)?;

    let (ca, server, peer) = (&ca.certificate, &server, &peer);
    say!("Authority      {}", ca.display());
    say!(
        "For clients    {}, {} ({}; {days} days)",
        server.certificate.display(),
        server.key.display(),
        hosts.join(", ")
    );
    say!(
        "For processes  {}, {} ({PEER_NAME}; {days} days)",
        peer.certificate.display(),
        peer.key.display()
    );
    say!("Try it:");
    say!(
        "  flare up --set tls.certificate={} --set tls.key={}",
        server.certificate.display(),
        server.key.display()
    );
    say!(
        "  flare chat --ca {} --url wss://{}:8081/ws --user alice --to bob",
        ca.display(),
        host_in_url(&hosts[0])
    );
    Ok(())
}

fn make(ca: &Pair) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    named(
        &mut params,
        "Flare IM Core development authority",
        AUTHORITY_DAYS,
    )?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    ca.write(&certificate.pem(), &key)?;
    Ok(Issuer::new(params, key))
}

fn open(ca: &Pair) -> anyhow::Result<Issuer<'static, KeyPair>> {
    let read = |file: &Path| fs::read_to_string(file).with_context(|| file.display().to_string());
    let key = KeyPair::from_pem(&read(&ca.key)?)
        .with_context(|| format!("{} holds no private key", ca.key.display()))?;
    Issuer::from_ca_cert_pem(&read(&ca.certificate)?, key)
        .with_context(|| format!("{} holds no authority", ca.certificate.display()))
}

fn sign(
    authority: &Issuer<'_, KeyPair>,
    pair: &Pair,
    names: Vec<String>,
    days: i64,
    usages: &[ExtendedKeyUsagePurpose],
) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    let common = names[0].clone();
    let mut params = CertificateParams::new(names)
        .context("--host wants names and addresses, such as chat.example.com or 192.0.2.1")?;
    named(&mut params, &common, days)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    let certificate = params.signed_by(&key, authority)?;
    pair.write(&certificate.pem(), &key)
}

fn named(params: &mut CertificateParams, common: &str, days: i64) -> anyhow::Result<()> {
    let now = OffsetDateTime::from_unix_timestamp(SystemClock.now_ms() / 1_000)?;
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = now - EARLIER;
    params.not_after = now + Duration::days(days);
    Ok(())
}

fn write(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let cannot = || file.display().to_string();
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut fresh = NamedTempFile::new_in(folder).with_context(cannot)?;
    fresh.write_all(text.as_bytes()).with_context(cannot)?;
    fresh
        .as_file()
        .set_permissions(Permissions::from_mode(mode))
        .with_context(cannot)?;
    fresh.persist(file).with_context(cannot)?;
    Ok(())
}

/// An IPv6 address stands in brackets.
fn host_in_url(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(out: &Path) -> cli::Certs {
        cli::Certs {
            out: out.to_owned(),
            hosts: Vec::new(),
            days: 1,
            force: false,
        }
    }

    #[test]
    fn the_authority_stays_and_its_certificates_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        run(&args(folder.path())).unwrap();
        let (ca, server) = (read("ca.pem"), read("server.pem"));
        run(&args(folder.path())).unwrap();
        assert_eq!(read("ca.pem"), ca);
        assert_ne!(read("server.pem"), server);
        let force = cli::Certs {
            force: true,
            ..args(folder.path())
        };
        run(&force).unwrap();
        assert_ne!(read("ca.pem"), ca);
    }

    #[test]
    fn keys_are_their_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        run(&args(folder.path())).unwrap();
        for (file, mode) in [
            ("ca-key.pem", PRIVATE),
            ("server-key.pem", PRIVATE),
            ("peer-key.pem", PRIVATE),
            ("ca.pem", PUBLIC),
        ] {
            let found = fs::metadata(folder.path().join(file)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
        }
    }

    #[test]
    fn half_an_authority_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        run(&args(folder.path())).unwrap();
        fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
        let error = run(&args(folder.path())).unwrap_err();
        assert!(
            error.to_string().contains("ca-key.pem is missing"),
            "{error}"
        );
    }
}

//! Certificates that change while the server runs.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::Trust;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    arguments::Arguments, authority::Authority, judge::Minimums, person::SOON, raw::Raw,
    scene::Scene,
};

const CLIENTS: [&str; 2] = ["server-key.pem", "server.pem"];
const PEERS: [&str; 2] = ["peer-key.pem", "peer.pem"];
const RELOADS: &str = "flare_tls_reloads_total";

/// New certificates are shown to who comes next, also between processes; a key that does not fit changes nothing; who is there stays. Nobody is let in without TLS.
pub(crate) async fn certificates_change(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ours = scene.server.authority().context("not encrypted")?.clone();
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    ann.tell("ben", "before").await?;

    in_the_clear(&scene).await?;
    let mut eve = Eve {
        scene: &scene,
        tried: 0,
    };

    // Of an authority that the clients have not believed so far.
    let folder = tempfile::tempdir()?;
    let kept = CLIENTS.map(|file| (ours.file(file), folder.path().join(file)));
    for (file, copy) in &kept {
        fs::copy(file, copy)?;
    }
    let others = Authority::make(folder.path()).await?;
    let theirs = Trust::with_authority(&others.pem()?)?;
    ensure!(!eve.comes_in(&theirs).await?, "a stranger was believed");
    for file in CLIENTS {
        replace(&others.file(file), &ours.file(file))?;
    }
    let patience = Patience::new("the new certificate");
    while !eve.comes_in(&theirs).await? {
        patience.a_little().await?;
    }
    let known = scene.server.trust()?;
    ensure!(!eve.comes_in(&known).await?, "the old certificate is shown");
    // Whoever was there still is.
    ann.tell("ben", "with the certificate of before").await?;

    // A key that is none, and then one of another certificate.
    for (key, nth) in [(None, 1.0), (Some(others.file("peer-key.pem")), 2.0)] {
        match key {
            None => fs::write(ours.file(CLIENTS[0]), "no key")?,
            Some(other) => replace(&other, &ours.file(CLIENTS[0]))?,
        }
        let patience = Patience::new("the bad key to be noticed");
        let refused = [RELOADS, "clients", "refused"];
        while scene.server.metric(&refused).await? < nth {
            ensure!(eve.comes_in(&theirs).await?, "a bad key locked clients out");
            patience.a_little().await?;
        }
    }

    // Between processes: each shows a certificate that the authority has made anew.
    let renewed = tempfile::tempdir()?;
    for file in ["ca.pem", "ca-key.pem"] {
        fs::create_dir_all(renewed.path().join("certs"))?;
        fs::copy(ours.file(file), renewed.path().join("certs").join(file))?;
    }
    let renewed = Authority::make(renewed.path()).await?;
    for file in PEERS {
        replace(&renewed.file(file), &ours.file(file))?;
    }
    let patience = Patience::new("the processes' new certificate");
    let taken = [RELOADS, "peers", "taken"];
    while scene.server.metric(&taken).await? < 1.0 {
        ann.tell("ben", "meanwhile").await?;
        patience.a_little().await?;
    }
    let last = ann.tell("ben", "after").await?;
    ben.reads_to(&last.conversation_id, last.seq).await?;

    // For whoever reads everything at the end.
    for (file, copy) in &kept {
        replace(copy, file)?;
    }
    let patience = Patience::new("the first certificate");
    while !eve.comes_in(&known).await? {
        patience.a_little().await?;
    }
    let minimums = Minimums {
        acks: 4,
        deliveries: 4,
        beside: Counts {
            clients: 2,
            ..Counts::default()
        },
        refusals: 0,
        retries: 0,
        duplicates: 0,
        syncs: 0,
        restarts: 0,
    };
    scene.ends(vec![ann, ben], minimums).await
}

/// Who speaks without TLS is told nothing, on either port.
async fn in_the_clear(scene: &Scene) -> anyhow::Result<()> {
    for (url, path) in [
        (scene.server.url()?, "/ws"),
        (scene.server.api()?, "/api/v1/client-config"),
    ] {
        let host = url.split('/').nth(2).context("no host")?;
        let mut stream = TcpStream::connect(host).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // How it ends is the server's affair.
        let _ = timeout(SOON, stream.read_to_end(&mut answer)).await?;
        ensure!(
            !answer.starts_with(b"HTTP"),
            "{host} answers in the clear: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

/// Those who try to come in, each of them once.
struct Eve<'a> {
    scene: &'a Scene,
    tried: u32,
}

impl Eve<'_> {
    /// Whether a device with this belief gets in.
    async fn comes_in(&mut self, trust: &Trust) -> anyhow::Result<bool> {
        self.tried += 1;
        let device = format!("device-{}", self.tried);
        let mut options = self.scene.device("eve", &device).await?;
        options.trust = trust.clone();
        match Raw::arrive(options, self.scene.recorder("eve", &device)?).await {
            Ok(_) => Ok(true),
            Err(error) if format!("{error:#}").contains("certificate") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// As a careful administrator does: the file is whole at every moment.
fn replace(new: &Path, old: &Path) -> anyhow::Result<()> {
    let beside = old.with_extension("new");
    fs::copy(new, &beside)?;
    Ok(fs::rename(beside, old)?)
}

/// How long something is waited for.
struct Patience {
    what: &'static str,
    until: Instant,
}

impl Patience {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            until: Instant::now() + SOON,
        }
    }

    async fn a_little(&self) -> anyhow::Result<()> {
        ensure!(
            Instant::now() < self.until,
            "waited in vain for {}",
            self.what
        );
        sleep_until(Instant::now() + Duration::from_millis(50)).await;
        Ok(())
    }
}

//! `flare topics`.

use anyhow::ensure;
use flare_server_core::{
    cluster,
    kafka::topics::{self, Made},
};

use super::load;
use crate::{cli::Topics, output::say};

/// Makes the topics that are not there.
pub async fn run(args: &Topics) -> anyhow::Result<()> {
    let Topics::Create { replicas, config } = args;
    let kafka = load(config, &[], None)?.config.base.kafka;
    ensure!(
        !kafka.bootstrap_servers.is_empty(),
        "kafka.bootstrap_servers is missing: say where Kafka is, such as --set kafka.bootstrap_servers='[\"127.0.0.1:29092\"]'"
    );
    let mut differing = 0;
    for (topic, made) in topics::create(&kafka, *replicas, &cluster::topics(&kafka)).await? {
        match made {
            Made::Created => say!("{topic}: made, with {replicas} replicas"),
            Made::Present => say!("{topic}: is there, as it must be"),
            Made::Differs(mistakes) => {
                differing += 1;
                for mistake in mistakes {
                    say!("{topic}: {mistake}");
                }
            }
        }
    }
    ensure!(differing == 0, "{differing} topics are not as they must be");
    Ok(())
}

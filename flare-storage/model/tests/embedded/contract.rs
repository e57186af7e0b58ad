//! The embedded store keeps the contract: as it runs, and at its extremes.

mod as_it_runs {
    use flare_storage_model::EmbeddedStoreOptions;

    flare_storage_model::message_store_contract!(crate::subject::fresh(
        EmbeddedStoreOptions::default()
    ));
}

/// Nothing leaves the tail unless it is asked to.
mod in_the_tail {
    flare_storage_model::message_store_contract!(
        crate::subject::fresh(crate::subject::tail_only())
    );
}

/// Every commit waits until the tail is empty.
mod on_disk {
    use std::time::Duration;

    use flare_storage_model::EmbeddedStoreOptions;

    flare_storage_model::message_store_contract!(crate::subject::fresh(EmbeddedStoreOptions {
        max_tail_events: 1,
        gather: Duration::ZERO,
        sync_bytes: 1,
        ..EmbeddedStoreOptions::default()
    }));
}

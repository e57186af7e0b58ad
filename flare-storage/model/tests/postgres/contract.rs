//! The store on PostgreSQL keeps the contract.

flare_storage_model::message_store_contract!(crate::database::fresh().await);

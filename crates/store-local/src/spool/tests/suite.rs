//! The suite of all spools, on a real directory.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use postroad_store::contract::spool::{Ground, all, all_durable};
use postroad_store::spool::Spool;

use crate::spool::{LogSpool, SpoolSettings};

fn settings(segment_octets: u64, cache_octets: usize) -> SpoolSettings {
    SpoolSettings { segment_octets, cache_octets, ..SpoolSettings::default() }
}

/// A directory that is there as long as the test needs it.
struct Directory(tempfile::TempDir, SpoolSettings);

impl Directory {
    fn new(settings: SpoolSettings) -> Self {
        Directory(tempfile::tempdir().unwrap(), settings)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("spool")
    }
}

#[async_trait]
impl Ground for Directory {
    async fn open(&self) -> Arc<dyn Spool> {
        LogSpool::open(self.path(), self.1.clone()).unwrap()
    }
}

/// Small segments with small memory, and large ones with enough.
fn all_settings() -> [SpoolSettings; 2] {
    [settings(64 * 1024, 0), settings(16 << 20, 1 << 20)]
}

#[tokio::test]
async fn passes_the_suite() {
    for settings in all_settings() {
        let grounds = std::sync::Mutex::new(Vec::new());
        all(|| async {
            let ground = Directory::new(settings.clone());
            let spool = ground.open().await;
            grounds.lock().unwrap().push(ground);
            spool
        })
        .await;
    }
}

#[tokio::test]
async fn passes_the_suite_of_durable_spools() {
    for settings in all_settings() {
        all_durable(|| Box::new(Directory::new(settings.clone()))).await;
    }
}

#[tokio::test]
async fn a_directory_is_open_in_one_spool_only() {
    let ground = Directory::new(SpoolSettings::default());
    let spool = ground.open().await;
    let second = LogSpool::open(ground.path(), SpoolSettings::default());
    assert!(second.is_err_and(|error| error.to_string().contains("in use by another process")));
    drop(spool);
    ground.open().await;
}

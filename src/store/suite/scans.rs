//! What every database promises about scans of images.

use super::Fixture;
use crate::base::Digest;
use crate::base::ids::WorkspaceId;
use crate::domain::scans::{ImageScan, READERS, Summary};
use crate::store::{ScanWrite, Write};

fn scan(fixture: &Fixture, image: &str, packages: u64) -> ImageScan {
    ImageScan {
        workspace_id: fixture.store.scope().workspace_id,
        image_id: image.to_owned(),
        scanned_at: fixture.now(),
        matched_at: fixture.now(),
        summary: Summary {
            names: vec!["app:1".to_owned()],
            packages,
            advisories: Some(Digest::of(b"list")),
            counts: [("high".to_owned(), 2)].into(),
            readers: READERS,
            ..Summary::default()
        },
        inventory: vec![0, 1, 255],
        vulnerabilities: Vec::new(),
    }
}

pub(crate) async fn a_scan_reads_back_until_another_one_or_none_is_there(fixture: Fixture) {
    let workspace = fixture.store.scope().workspace_id;
    let (one, two) = (scan(&fixture, "sha256:1", 1), scan(&fixture, "sha256:2", 2));
    let put = |scan: &ImageScan| Write::Scan(ScanWrite::Put(Box::new(scan.clone())));
    fixture.commit(put(&two)).await.unwrap();
    fixture.commit(put(&one)).await.unwrap();
    let fixture = fixture.reopened().await;
    let listed = fixture.store.image_scans(workspace).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|row| row.image_id.as_str()).collect();
    assert_eq!(ids, ["sha256:1", "sha256:2"]);
    assert_eq!(listed[0].summary, one.summary);
    let found = fixture.store.image_scan(workspace, one.image_id.clone()).await.unwrap();
    assert_eq!(found, Some(one.clone()));
    let newer = ImageScan { inventory: vec![7], ..scan(&fixture, "sha256:1", 9) };
    fixture.commit(put(&newer)).await.unwrap();
    let found = fixture.store.image_scan(workspace, one.image_id.clone()).await.unwrap();
    assert_eq!(found, Some(newer));
    let elsewhere = WorkspaceId::from_u128(9);
    assert!(fixture.store.image_scans(elsewhere).await.unwrap().is_empty());
    let drop =
        Write::Scan(ScanWrite::Drop { workspace_id: workspace, image_id: one.image_id.clone() });
    fixture.commit(drop.clone()).await.unwrap();
    fixture.commit(drop).await.unwrap();
    assert_eq!(fixture.store.image_scan(workspace, one.image_id).await.unwrap(), None);
    assert_eq!(fixture.store.image_scans(workspace).await.unwrap().len(), 1);
}

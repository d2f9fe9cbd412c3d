//! Passes schedules, alerts, findings, access and logins through the counted store. Owns nothing. Face: the
//! traits of `store`. Never counts: what is written of them goes through `commit`, which does.

use super::counted_store::CountedStore;
use crate::base::ids::{DeliveryId, FindingId, LoginId, ReceiverId, TenantId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::access::Directory;
use crate::domain::alerts::{AlertRule, Delivery, DeliveryEvent, Receiver, Webhook};
use crate::domain::findings::{Finding, FindingException};
use crate::domain::registries::{Credentials, Login};
use crate::domain::scans::ImageScan;
use crate::domain::schedules::Schedule;
use crate::store::{
    Answer, DeliveryFilter, FindingTotals, Outbox, Page, PageRequest, ReadAccess, ReadAlerts,
    ReadFindings, ReadRegistries, ReadScans, ReadSchedules, ScanRow, TakeDeliveries,
};

impl ReadSchedules for CountedStore {
    fn schedules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Schedule>> {
        self.inner.schedules(workspace)
    }

    fn schedule(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Schedule>> {
        self.inner.schedule(workspace, name)
    }
}

impl ReadAlerts for CountedStore {
    fn alert_rules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<AlertRule>> {
        self.inner.alert_rules(workspace)
    }

    fn alert_receivers(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Receiver>> {
        self.inner.alert_receivers(workspace)
    }

    fn webhook(&self, receiver: ReceiverId) -> Answer<'_, Option<(Receiver, Webhook)>> {
        self.inner.webhook(receiver)
    }

    fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Answer<'_, Page<Delivery>> {
        self.inner.deliveries(filter, page)
    }

    fn delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Answer<'_, Option<Delivery>> {
        self.inner.delivery(workspace, id)
    }

    fn next_delivery(&self) -> Answer<'_, Option<Timestamp>> {
        self.inner.next_delivery()
    }
}

impl ReadFindings for CountedStore {
    fn finding_totals(
        &self,
        workspace: WorkspaceId,
        tenant: Option<TenantId>,
    ) -> Answer<'_, Vec<FindingTotals>> {
        self.inner.finding_totals(workspace, tenant)
    }

    fn findings_after(
        &self,
        workspace: WorkspaceId,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>> {
        self.inner.findings_after(workspace, tenant, after, limit)
    }

    fn findings_by_fingerprint(
        &self,
        tenant: TenantId,
        keys: Vec<Digest>,
    ) -> Answer<'_, Vec<Finding>> {
        self.inner.findings_by_fingerprint(tenant, keys)
    }

    fn finding_exceptions(&self, finding: FindingId) -> Answer<'_, Vec<FindingException>> {
        self.inner.finding_exceptions(finding)
    }
}

impl ReadAccess for CountedStore {
    fn access(&self) -> Answer<'_, Directory> {
        self.inner.access()
    }
}

impl ReadRegistries for CountedStore {
    fn registry_logins(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Login>> {
        self.inner.registry_logins(workspace)
    }

    fn registry_credentials(&self, id: LoginId) -> Answer<'_, Option<Credentials>> {
        self.inner.registry_credentials(id)
    }
}

impl ReadScans for CountedStore {
    fn image_scans(&self, workspace: WorkspaceId) -> Answer<'_, Vec<ScanRow>> {
        self.inner.image_scans(workspace)
    }

    fn image_scan(
        &self,
        workspace: WorkspaceId,
        image_id: String,
    ) -> Answer<'_, Option<ImageScan>> {
        self.inner.image_scan(workspace, image_id)
    }
}

impl Outbox for CountedStore {
    fn take_deliveries(&self, take: TakeDeliveries) -> Answer<'_, Vec<Delivery>> {
        self.inner.take_deliveries(take)
    }

    fn report_delivery(&self, id: DeliveryId, event: DeliveryEvent) -> Answer<'_, ()> {
        self.inner.report_delivery(id, event)
    }
}

//! Passes schedules, alerts, findings, access and logins through the counted store. Owns nothing. Face: the
//! traits of `store`. Never counts: what is written of them goes through `commit`, which does.

use std::collections::BTreeSet;

use super::counted_store::CountedStore;
use crate::base::ids::{DeliveryId, FindingId, LoginId, ReceiverId, TenantId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::access::Directory;
use crate::domain::alerts::{AlertRule, Delivery, DeliveryEvent, Receiver, Webhook};
use crate::domain::enforcement::Enforced;
use crate::domain::findings::{Finding, FindingException, PolicyStanding};
use crate::domain::registries::{Credentials, Login};
use crate::domain::scans::ImageScan;
use crate::domain::schedules::Schedule;
use crate::store::{
    Answer, DeliveryFilter, FindingCount, FindingFilter, FindingTotals, Outbox, Page, PageRequest,
    ReadAccess, ReadAlerts, ReadEnforcement, ReadFindings, ReadRegistries, ReadScans,
    ReadSchedules, ScanRow, StandingCount, TakeDeliveries,
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

    fn findings_by_id(&self, ids: Vec<FindingId>) -> Answer<'_, Vec<Finding>> {
        self.inner.findings_by_id(ids)
    }

    fn findings(&self, filter: FindingFilter, page: PageRequest) -> Answer<'_, Page<Finding>> {
        self.inner.findings(filter, page)
    }

    fn open_findings(
        &self,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>> {
        self.inner.open_findings(tenant, after, limit)
    }

    fn exceptions_of(&self, findings: Vec<FindingId>) -> Answer<'_, Vec<FindingException>> {
        self.inner.exceptions_of(findings)
    }

    fn exceptions_over(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<FindingException>> {
        self.inner.exceptions_over(at, limit)
    }

    fn findings_overdue(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>> {
        self.inner.findings_overdue(at, limit)
    }

    fn findings_finished(&self, before: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>> {
        self.inner.findings_finished(before, limit)
    }

    fn finding_counts(&self, at: Timestamp) -> Answer<'_, Vec<FindingCount>> {
        self.inner.finding_counts(at)
    }

    fn policies_named(&self, tenant: TenantId) -> Answer<'_, BTreeSet<String>> {
        self.inner.policies_named(tenant)
    }

    fn policy_standings(
        &self,
        tenant: TenantId,
        subjects: Option<Vec<String>>,
    ) -> Answer<'_, Vec<PolicyStanding>> {
        self.inner.policy_standings(tenant, subjects)
    }

    fn standing_counts(&self, workspace: Option<WorkspaceId>) -> Answer<'_, Vec<StandingCount>> {
        self.inner.standing_counts(workspace)
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

impl ReadEnforcement for CountedStore {
    fn enforced(&self, workspace: WorkspaceId) -> Answer<'_, Enforced> {
        self.inner.enforced(workspace)
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

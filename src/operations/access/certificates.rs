//! Registers client certificates, each of which stands for a user. Owns their commands. Face: the
//! commands of `Access`. Never proves one: TLS does, before a request is heard.

use super::Access;
use super::commands::{AccessError, unknown};
use crate::base::Digest;
use crate::base::ids::CertificateId;
use crate::domain::access::{Certificate, UserKind};
use crate::domain::audit::EventType;
use crate::operations::projects::Asker;
use crate::store::AccessWrite;

impl Access {
    /// Whoever proves this certificate is this user, below or above workspaces.
    ///
    /// # Errors
    /// When there is no such user, the certificate stands for somebody already, or the store does
    /// not take it.
    pub async fn add_certificate(
        &self,
        user: &str,
        fingerprint: Digest,
        asker: &Asker,
    ) -> Result<Certificate, AccessError> {
        let known = self.known().await?;
        let user = self.user_of(&known, user, UserKind::ALL)?;
        let certificate = Certificate {
            id: CertificateId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            fingerprint,
            user_id: user.id,
            created_at: self.ambient.now(),
        };
        let summary = format!("{} let a certificate stand for {}", asker.name, user.name);
        let label = fingerprint.short().to_string();
        let target = ("access_certificate", certificate.id.to_string(), label);
        let write = AccessWrite::InsertCertificate(certificate.clone());
        self.record(write, EventType::CertificateAdded, target, asker, summary).await?;
        Ok(certificate)
    }

    /// A certificate stands for nobody any more, from now on.
    ///
    /// # Errors
    /// When there is none, or the store does not take it.
    pub async fn drop_certificate(
        &self,
        id: CertificateId,
        asker: &Asker,
    ) -> Result<(), AccessError> {
        let known = self.known().await?;
        let found = known.certificates.iter().find(|it| it.id == id);
        let found = found.ok_or_else(|| unknown("certificate", &id.to_string()))?;
        let label = found.fingerprint.short().to_string();
        let summary = format!("{} took a certificate's worth", asker.name);
        let target = ("access_certificate", id.to_string(), label);
        let write = AccessWrite::DropCertificate { id };
        self.record(write, EventType::CertificateRemoved, target, asker, summary).await
    }
}

//! Which secrets must not leave the process: every version of every credential that is stored.

use super::App;
use crate::error::{Code, Result};
use crate::redact::Secrets;
use crate::secret::Secret;
use crate::store::credentials::{self, Credential};
use crate::vault::Vault;
use crate::vault::private::private_parts;

impl App {
    /// Takes the stored secrets anew, once a vault that was sealed is open.
    pub async fn hide_stored(&self) -> Result<()> {
        let (vault, secrets) = (self.vault.clone(), self.secrets.clone());
        // In the writer's turn, so that what is stored meanwhile is not forgotten again.
        self.store
            .write(move |tx| {
                hide(&secrets, &vault, &credentials::all_versions(tx)?);
                Ok(())
            })
            .await
    }
}

/// Replaces what was hidden by the secrets of these versions. One that does not open cannot leave either.
pub(super) fn hide(secrets: &Secrets, vault: &Vault, versions: &[Credential]) {
    let mut opened: Vec<(Secret, &str)> = Vec::with_capacity(versions.len());
    for row in versions {
        match vault.open(&row.binding(), &row.version.sealed) {
            Ok(secret) => {
                let parts = private_parts(row.version.policy.kind, &secret);
                opened.extend(parts.into_iter().map(|part| (part, row.credential_id.as_str())));
            }
            Err(error) if error.code == Code::Sealed => {}
            Err(error) => tracing::warn!(credential = %row.name, version = row.version.number, %error, "not opened"),
        }
    }
    secrets.replace_all(opened.iter().map(|(secret, label)| (secret.expose(), *label)));
}

//! An app that goes to another organization.

use mayfly_db::args;
use mayfly_types::{OrgId, ReleaseId};
use serde_json::json;

use crate::event::{Subject, append};
use crate::{
    App, By, ControlStore, StoreError, address, app, budget, network, organization, release, token,
};

const MOVE_APP: &str = "UPDATE app SET org_id = $2, network_id = $3 WHERE id = $1";

const MOVE_MACHINES: &str =
    "UPDATE machine SET org_id = $2 WHERE app_id = $1 AND destroyed_at IS NULL";

const MOVE_VOLUMES: &str = "UPDATE volume SET org_id = $2 WHERE app_id = $1";

const MOVE_HOSTNAMES: &str = "UPDATE hostname SET org_id = $2 WHERE app_id = $1";

impl ControlStore {
    /// The app as it will be in another organization, in the network its apps share.
    ///
    /// # Errors
    /// `NotFound` for the organization; `OverBudget` of it.
    pub async fn app_in(&self, app: App, org: OrgId, by: By) -> Result<App, StoreError> {
        self.write(move |tx| {
            let org = organization::by_id(tx, org)?;
            budget::for_app(tx, org.id, &app.role)?;
            let network = network::ensure(tx, org.id, network::DEFAULT, &by)?;
            Ok(App {
                org_id: org.id,
                org_slug: org.slug,
                org_name: org.name,
                org_numeric_id: org.numeric_id,
                network_id: network.id,
                network_name: network.name,
                ..app
            })
        })
        .await
    }

    /// Gives the app of a release to another organization, in the same moment in which the release comes to `stage`. The
    /// app's private addresses get others in their place, and its tokens end: they were the other organization's.
    ///
    /// An app that is there already stays as it is.
    ///
    /// # Errors
    /// `NotFound` for the organization.
    pub async fn move_app(
        &self,
        id: ReleaseId,
        org: OrgId,
        stage: String,
        by: By,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let release = release::by_id(tx, id)?;
            let before = app::by_id(tx, release.app_id)?;
            let org = organization::by_id(tx, org)?;
            if before.org_id != org.id && release.is_open() {
                let network = network::ensure(tx, org.id, network::DEFAULT, &by)?;
                let app = before.id.as_str();
                tx.execute(
                    MOVE_APP,
                    args![app, org.id.as_str(), i64::from(network.id.0)],
                )?;
                tx.execute(MOVE_MACHINES, args![app, org.id.as_str()])?;
                tx.execute(MOVE_VOLUMES, args![app, org.id.as_str()])?;
                tx.execute(MOVE_HOSTNAMES, args![app, org.id.as_str()])?;
                token::revoke_of_app(tx, before.id, &by)?;
                address::renumber(tx, &before, network.id, &by)?;
                let told = [
                    json!({ "organization": before.org_slug, "network": before.network_name }),
                    json!({ "organization": org.slug, "network": network.name }),
                ];
                // Both histories tell it.
                for owner in [before.org_id, org.id] {
                    let subject = Subject::app(owner, before.id, &before.name);
                    append(
                        tx,
                        &by,
                        "app.move",
                        &subject,
                        Some(&told[0]),
                        Some(&told[1]),
                    )?;
                }
            }
            release::set_stage(tx, id, stage, &by)?;
            Ok(())
        })
        .await
    }
}

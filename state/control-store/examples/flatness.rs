//! Whether questions stay cheap as the cloud grows: each at 100 and at 10,000 machines, interleaved, as a ratio.
//!
//! `cargo run -p mayfly-control-store --example flatness [postgres://…]`

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};

use mayfly_control_store::{
    AppFilter, By, ControlStore, EventFilter, FirstStart, HostSize, MachineFilter, NewApp,
    NewLease, NewMachine, NewOrg, NewToken, NewVersion, OfApp, OrgKind, StoreError, TokenKind,
};
use mayfly_machine::{GuestSize, MachineSpec};
use mayfly_types::{
    AppId, Digest, EventSeq, HostId, InstanceId, MachineId, OrgId, Timestamp, TokenId, UserId,
};
use serde_json::value::RawValue;

/// Machines of the app that is asked about, at every size.
const OF_APP: usize = 20;

const ROUNDS: usize = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("mayfly-flatness-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let outcome = measure(&directory).await;
    std::fs::remove_dir_all(&directory)?;
    outcome
}

async fn measure(directory: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let small = Cloud::filled(&format!("sqlite://{}/s.db", directory.display()), 100).await?;
    let large = match std::env::args().nth(1) {
        Some(url) => Cloud::filled(&url, 10_000).await?,
        None => Cloud::filled(&format!("sqlite://{}/l.db", directory.display()), 10_000).await?,
    };
    println!("{:<34} {:>9} {:>9} {:>6}", "", "100", "10,000", "ratio");
    compare("machine by id", &small, &large, Cloud::by_id).await?;
    compare("machine by name in its app", &small, &large, Cloud::by_name).await?;
    compare("list of an app of 20 machines", &small, &large, Cloud::list).await?;
    compare("the same by metadata", &small, &large, Cloud::by_metadata).await?;
    compare(
        "histories of an app's machines",
        &small,
        &large,
        Cloud::histories,
    )
    .await?;
    compare(
        "page of 100 in an organization",
        &small,
        &large,
        Cloud::page,
    )
    .await?;
    compare("app with its count", &small, &large, Cloud::app).await?;
    compare("list of all apps with counts", &small, &large, Cloud::apps).await?;
    compare(
        "page of the event log of an app",
        &small,
        &large,
        Cloud::events,
    )
    .await?;
    compare("caller of a token", &small, &large, Cloud::caller).await?;
    compare("lease taken and given back", &small, &large, Cloud::lease).await?;
    compare("metadata changed", &small, &large, Cloud::metadata).await?;
    Ok(())
}

async fn compare<'c, F, T>(
    what: &str,
    small: &'c Cloud,
    large: &'c Cloud,
    ask: F,
) -> Result<(), StoreError>
where
    F: Fn(&'c Cloud, usize) -> T,
    T: Future<Output = Result<(), StoreError>>,
{
    let (mut at_small, mut at_large) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (cloud, times) in [(small, &mut at_small), (large, &mut at_large)] {
            let begin = Instant::now();
            ask(cloud, round).await?;
            times.push(begin.elapsed());
        }
    }
    let (small, large) = (median(at_small), median(at_large));
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "{what:<34} {:>7.0}µs {:>7.0}µs {ratio:>5.2}×",
        micros(small),
        micros(large)
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn by(millis: i64) -> By {
    By::platform(Timestamp::from_millis(millis))
}

fn digits<const N: usize>(number: usize) -> [u8; N] {
    let mut bytes = [0; N];
    for (index, slot) in bytes.iter_mut().enumerate() {
        *slot = (number >> (4 * index.min(15)) & 15) as u8;
    }
    bytes
}

struct Cloud {
    store: ControlStore,
    org: OrgId,
    app: mayfly_control_store::App,
    machines: Vec<MachineId>,
}

impl Cloud {
    /// A cloud with so many machines, `OF_APP` of them in the app `asked`, the rest in apps of the same size.
    async fn filled(url: &str, count: usize) -> Result<Cloud, Box<dyn Error>> {
        let store = ControlStore::open(url).await?;
        let (user, org) = (UserId::from_random([1; 16]), OrgId::from_random([1; 16]));
        let first = FirstStart {
            user_id: user,
            email: "ann@example.org".to_owned(),
            name: "Ann".to_owned(),
            org: NewOrg {
                id: org,
                slug: "personal".parse()?,
                name: "Ann".to_owned(),
                kind: OrgKind::Personal,
            },
            token: NewToken {
                id: TokenId::from_random([1; 16]),
                digest: Digest::from_sha256([1; 32]),
                name: "first".to_owned(),
                user_id: user,
                org_id: None,
                kind: TokenKind::Opaque,
                expires_at: None,
            },
        };
        store.first_start(first, by(1)).await?;
        let host = HostId::from_random([1; 8]);
        store
            .register_host(host, "iad".parse()?, HostSize::default(), by(1))
            .await?;
        let mut machines = Vec::new();
        let mut asked = None;
        for first in (0..count).step_by(OF_APP) {
            let name = if first == 0 {
                "asked".to_owned()
            } else {
                format!("app-{first}")
            };
            let app = store
                .create_app(
                    NewApp {
                        id: AppId::from_random(digits(first)),
                        name: name.parse()?,
                        org_id: org,
                        network: None,
                        role: String::new(),
                        expires_at: None,
                    },
                    by(2),
                )
                .await?;
            let creations = (first..first + OF_APP).map(|number| {
                let new = machine(&app, host, number);
                store.create_machine(new, by(3))
            });
            for created in futures_util::future::join_all(creations).await {
                created?;
            }
            if first == 0 {
                machines = (0..OF_APP)
                    .map(|number| MachineId::from_random(digits(number)))
                    .collect();
                asked = Some(store.app_by_id(app.id).await?);
            }
        }
        let app = asked.ok_or("no machines were wanted")?;
        Ok(Cloud {
            store,
            org,
            app,
            machines,
        })
    }

    async fn by_id(&self, round: usize) -> Result<(), StoreError> {
        self.store
            .machine(self.machines[round % OF_APP])
            .await
            .map(drop)
    }

    async fn by_name(&self, round: usize) -> Result<(), StoreError> {
        let name = format!("machine-{}", round % OF_APP);
        self.store.machine_in_app(self.app.id, name).await.map(drop)
    }

    async fn machines(&self, filter: MachineFilter, count: usize) -> Result<(), StoreError> {
        let found = self.store.machines(filter).await?;
        assert_eq!(found.len(), count);
        Ok(())
    }

    async fn list(&self, _round: usize) -> Result<(), StoreError> {
        let filter = MachineFilter {
            app: Some(self.app.id),
            ..Default::default()
        };
        self.machines(filter, OF_APP).await
    }

    async fn by_metadata(&self, _round: usize) -> Result<(), StoreError> {
        let filter = MachineFilter {
            app: Some(self.app.id),
            metadata: vec![("half".to_owned(), "1".to_owned())],
            ..Default::default()
        };
        self.machines(filter, OF_APP / 2).await
    }

    async fn histories(&self, _round: usize) -> Result<(), StoreError> {
        self.store
            .app_machine_events(self.app.id, 5, false)
            .await
            .map(drop)
    }

    async fn page(&self, _round: usize) -> Result<(), StoreError> {
        let filter = MachineFilter {
            org: Some(self.org),
            limit: Some(100),
            ..Default::default()
        };
        self.machines(filter, 100).await
    }

    async fn app(&self, _round: usize) -> Result<(), StoreError> {
        self.store.app(self.app.name.clone()).await.map(drop)
    }

    async fn apps(&self, _round: usize) -> Result<(), StoreError> {
        self.store.apps(AppFilter::default()).await.map(drop)
    }

    async fn events(&self, _round: usize) -> Result<(), StoreError> {
        let filter = EventFilter {
            orgs: Some(vec![self.org]),
            app: Some(OfApp::Id(self.app.id)),
            ..Default::default()
        };
        self.store
            .events_after(EventSeq(0), filter, 20)
            .await
            .map(drop)
    }

    async fn caller(&self, _round: usize) -> Result<(), StoreError> {
        let digest = Digest::from_sha256([1; 32]);
        self.store
            .caller(digest, Timestamp::from_millis(5))
            .await
            .map(drop)
    }

    async fn lease(&self, round: usize) -> Result<(), StoreError> {
        let machine = self.machines[round % OF_APP];
        let lease = NewLease {
            nonce: "n".to_owned(),
            owner: "ann".to_owned(),
            description: None,
            expires_at: Timestamp::from_millis(1000),
        };
        self.store.take_lease(machine, lease, None, by(10)).await?;
        self.store
            .release_lease(machine, "n".to_owned(), by(11))
            .await
    }

    async fn metadata(&self, round: usize) -> Result<(), StoreError> {
        let machine = self.machines[round % OF_APP];
        let value = Some(round.to_string());
        self.store
            .set_metadata(machine, "round".to_owned(), value, by(12))
            .await
            .map(drop)
    }
}

fn machine(app: &mayfly_control_store::App, host: HostId, number: usize) -> NewMachine {
    let image = format!("docker.io/library/nginx:1@sha256:{}", "ab".repeat(32));
    let image: mayfly_types::ImageRef = image.parse().expect("the reference is complete");
    let half = (number % 2).to_string();
    let config = format!(
        r#"{{"image":"nginx:1","env":{{"A":"1","B":"2"}},"guest":{{"cpu_kind":"shared","cpus":1,"memory_mb":256}},"metadata":{{"half":"{half}"}}}}"#
    );
    NewMachine {
        id: MachineId::from_random(digits(number)),
        app_id: app.id,
        name: format!("machine-{}", number % OF_APP)
            .parse()
            .expect("letters, a dash and digits"),
        region: "iad".parse().expect("three letters"),
        host_id: host,
        placement_reason: "the only host".to_owned(),
        version: NewVersion {
            instance_id: InstanceId::new(Timestamp::from_millis(3), digits(number)),
            image: image.clone(),
            image_labels: BTreeMap::new(),
            config: RawValue::from_string(config).expect("the text is JSON"),
            spec: MachineSpec {
                size: GuestSize::preset("shared-cpu-1x").expect("a preset"),
                init: Default::default(),
                restart: Default::default(),
                stop: Default::default(),
                rootfs: Default::default(),
                mounts: Vec::new(),
                dns: Default::default(),
                metadata: BTreeMap::from([("half".to_owned(), half)]),
                ..MachineSpec::of_image(image)
            },
            secrets_version: 0,
        },
        cordoned: false,
        lease: None,
        idempotency: None,
    }
}

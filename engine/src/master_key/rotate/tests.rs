use std::path::Path;

use model::{AccountId, Exchange, Timestamp, WebhookId};

use super::super::check::check;
use super::super::in_force;
use super::*;
use crate::answer::{Asked, KeptAnswer};
use crate::secrets::{ApiCredential, OpenError, Secret};
use crate::store::{Progress, Sealed, SealedKind, Webhook, connection, stores};
use crate::sweep::tests::hook;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// More than two batches of each kind.
const MANY: usize = 250;

fn credential(n: usize) -> ApiCredential {
    let text = |what: &str| Secret::new(format!("{what} {n}"));
    ApiCredential { api_key: text("key"), api_secret: text("secret") }
}

async fn store_connection(store: &Store, vault: &Vault, account_id: AccountId, n: usize) -> bool {
    let connection = connection(account_id);
    let credential = credential(n);
    let sealed = vault.seal(account_id, connection.id, &credential);
    let fingerprint = vault.fingerprint(Exchange::Binance, &credential.api_key);
    store.create_exchange(&connection, &sealed, fingerprint, None).await.unwrap()
}

async fn store_webhook(store: &Store, vault: &Vault, account_id: AccountId, n: usize) {
    let webhook = Webhook {
        id: WebhookId::new(),
        account_id,
        url: "https://example.com".to_owned(),
        description: String::new(),
        kinds: Vec::new(),
        concurrency: 1,
        header_names: Vec::new(),
        previous_until: None,
        progress: Progress::default(),
        created_at: NOW,
    };
    let sealed = vault.seal_record(account_id, webhook.id, format!("webhook {n}").as_bytes());
    store.create_webhook(&webhook, &sealed, u32::MAX, None).await.unwrap().unwrap();
}

async fn store_answer(store: &Store, vault: &Vault, account: AccountId, n: usize) {
    let asked = Asked::new(account, format!("key {n}"), "/v1/bots", b"{}");
    let sealed = vault.seal_answer(account, &asked.key, &format!("answer {n}"));
    store
        .keep_answer(&KeptAnswer { asked, status: 201, location: None, scope: None, sealed, at: NOW })
        .await
        .unwrap();
}

async fn store_hook(store: &Store, vault: &Vault, account_id: AccountId, n: usize) {
    let seal = |id| Some(vault.seal_record(account_id, id, format!("hook {n}").as_bytes()));
    hook(store, account_id, seal).await;
}

/// A store on which a server ran, and its key's file.
struct Rig {
    store: Store,
    kept: Kept,
    folder: tempfile::TempDir,
    account: AccountId,
}

impl Rig {
    async fn all(many: usize) -> Vec<Self> {
        let mut rigs = Vec::new();
        for (store, folder) in stores().await {
            let kept = Kept::File(folder.path().join("books.db.key"));
            let vault = in_force(&store, &kept).await.unwrap();
            let account = store.create_account("one", NOW).await.unwrap().id;
            for n in 0..many {
                assert!(store_connection(&store, &vault, account, n).await);
                store_webhook(&store, &vault, account, n).await;
                store_hook(&store, &vault, account, n).await;
                store_answer(&store, &vault, account, n).await;
            }
            rigs.push(Self { store, kept, folder, account });
        }
        rigs
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, name: &str) -> MasterKey {
        MasterKey::read(&self.file(name)).unwrap().unwrap()
    }

    async fn rotate(&self) -> Result<Rotation, RotateError> {
        rotate(&self.store, &self.kept, None).await
    }

    async fn everything(&self) -> Vec<Sealed> {
        let mut all = Vec::new();
        for kind in SealedKind::ALL {
            all.extend(self.store.sealed(kind, 0, &Default::default(), u32::MAX).await.unwrap());
        }
        all
    }

    async fn refusal(&self) -> String {
        in_force(&self.store, &self.kept).await.unwrap_err().to_string()
    }

    /// Everything opens with the key in the file, nothing with the one before.
    async fn is_rotated(&self, many: usize, version: i64) {
        let secrets = SecretCount {
            exchanges: many,
            webhooks: many,
            hooks: many,
            answers: many,
            ..SecretCount::default()
        };
        assert_eq!(check(&self.store, &self.kept).await.unwrap(), (version, secrets));
        in_force(&self.store, &self.kept).await.unwrap();
        let old = self.key(&format!("books.db.key.v{}", version - 1));
        let all = self.everything().await;
        assert_eq!(all.len(), 4 * many);
        // Neither as what it is, nor where it is passed off as the one in force.
        for (claimed, told) in [
            (version - 1, OpenError::Version { sealed: version, current: version - 1 }),
            (version, OpenError::Sealed),
        ] {
            let vault = Vault::new(old.clone(), claimed);
            assert!(all.iter().all(|sealed| opened(&vault, sealed) == Err(told)));
        }
        let vault = Vault::new(self.key("books.db.key"), version);
        let mut plain: Vec<_> = all.iter().map(|sealed| opened(&vault, sealed).unwrap()).collect();
        plain.sort();
        let mut expected: Vec<_> = (0..many)
            .flat_map(|n| {
                let credential = format!("key {n} secret {n}");
                [credential, format!("webhook {n}"), format!("hook {n}"), format!("answer {n}")]
            })
            .collect();
        expected.sort();
        assert_eq!(plain, expected);
        assert!(!self.file("books.db.key.new").exists());
    }
}

fn opened(vault: &Vault, sealed: &Sealed) -> Result<String, OpenError> {
    match sealed {
        Sealed::Exchange { account, id, sealed, .. } => vault
            .open(*account, *id, sealed)
            .map(|opened| format!("{} {}", opened.api_key.expose(), opened.api_secret.expose())),
        Sealed::Webhook { account, id, sealed } => {
            vault.open_record(*account, *id, sealed).map(|plain| String::from_utf8(plain.to_vec()).unwrap())
        }
        Sealed::Hook { account, id, sealed } => {
            vault.open_record(*account, *id, sealed).map(|plain| String::from_utf8(plain.to_vec()).unwrap())
        }
        Sealed::Answer { account, key, sealed } => vault.open_answer(*account, key, sealed),
    }
}

#[tokio::test]
async fn everything_opens_with_the_new_key_and_nothing_with_the_one_before() {
    for rig in Rig::all(MANY).await {
        let before = rig.key("books.db.key");
        let rotation = rig.rotate().await.unwrap();
        assert_eq!((rotation.from, rotation.version, rotation.resealed.opened()), (1, 2, 4 * MANY));
        assert_eq!(rotation.key_file, rig.file("books.db.key"));
        assert_eq!(rotation.old_key_file, Some(rig.file("books.db.key.v1")));
        assert_eq!(rig.key("books.db.key.v1").check_value(), before.check_value());
        rig.is_rotated(MANY, 2).await;
        rig.rotate().await.unwrap();
        rig.is_rotated(MANY, 3).await;
        let old = Kept::Configured(rig.key("books.db.key.v1"));
        let told = in_force(&rig.store, &old).await.unwrap_err().to_string();
        assert!(told.contains("was replaced: give the one that took its place, version 3"), "{told}");
    }
}

#[tokio::test]
async fn a_venues_key_is_known_again_after_a_rotation_and_belongs_to_one_account() {
    for rig in Rig::all(3).await {
        rig.rotate().await.unwrap();
        let vault = in_force(&rig.store, &rig.kept).await.unwrap();
        let other = rig.store.create_account("two", NOW).await.unwrap().id;
        for account in [other, rig.account] {
            assert!(!store_connection(&rig.store, &vault, account, 1).await);
        }
        assert!(store_connection(&rig.store, &vault, other, 4).await);
    }
}

#[tokio::test]
async fn it_goes_on_wherever_it_was_cut_short() {
    let unfinished = "run `botprimex admin master-key rotate` again";
    for rig in Rig::all(MANY).await {
        // The next key was written, and that is all: a server starts with the one in force.
        let (old, next) = (rig.key("books.db.key"), MasterKey::make(&rig.file("books.db.key.new")).unwrap());
        in_force(&rig.store, &rig.kept).await.unwrap();

        // The store knows of it; nothing is sealed with it yet.
        rig.store.begin_rotation(2, next.check_value(), NOW).await.unwrap();
        let told = rig.refusal().await;
        assert!(told.contains(unfinished), "{told}");

        // Some batches are.
        let (old_vault, new_vault) = (Vault::new(old.clone(), 1), Vault::new(next.clone(), 2));
        for kind in SealedKind::ALL {
            let batch = rig.store.sealed(kind, 2, &Default::default(), 100).await.unwrap();
            let anew: Vec<_> =
                batch.iter().map(|sealed| reseal(sealed, &old_vault, &new_vault).unwrap()).collect();
            rig.store.reseal(&anew).await.unwrap();
            assert!(rig.refusal().await.contains(unfinished));
            assert!(!rig.store.end_rotation(2, 0).await.unwrap(), "the old key is needed still");
        }
        assert!(check(&rig.store, &rig.kept).await.unwrap_err().to_string().contains(unfinished));

        // All are, the new key is in force, and its file is not in its place yet.
        reseal_all(&rig.store, &old_vault, &new_vault, 2).await.unwrap();
        assert!(rig.store.end_rotation(2, 0).await.unwrap());
        assert!(rig.refusal().await.contains(unfinished));

        // The one before is kept already.
        old.keep(&rig.file("books.db.key.v1")).unwrap();
        assert!(rig.refusal().await.contains(unfinished));
        let rotation = rig.rotate().await.unwrap();
        assert_eq!((rotation.from, rotation.version, rotation.resealed.opened()), (1, 2, 0));
        rig.is_rotated(MANY, 2).await;
    }
}

#[tokio::test]
async fn a_rotation_that_was_begun_ends_with_the_two_keys_it_was_begun_with_alone() {
    for rig in Rig::all(2).await {
        let (file, next_file) = (rig.file("books.db.key"), rig.file("books.db.key.new"));
        let (old, next) = (rig.key("books.db.key"), MasterKey::draw());
        rig.store.begin_rotation(2, next.check_value(), NOW).await.unwrap();
        let told = rig.rotate().await.unwrap_err().to_string();
        assert!(told.contains("books.db.key.new does not hold the key that it was begun with"), "{told}");
        assert!(!next_file.exists(), "none is drawn in its place");
        MasterKey::make(&next_file).unwrap();
        assert!(matches!(rig.rotate().await, Err(RotateError::NotTheNext(_))));
        std::fs::remove_file(&next_file).unwrap();

        next.keep(&next_file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(rig.rotate().await, Err(RotateError::MasterKey(MasterKeyError::Missing(_)))));
        next.keep(&file).unwrap();
        assert!(matches!(rig.rotate().await, Err(RotateError::NotTheOld(_))));
        std::fs::remove_file(&file).unwrap();

        old.keep(&file).unwrap();
        rig.rotate().await.unwrap();
        rig.is_rotated(2, 2).await;
    }
}

#[tokio::test]
async fn an_operators_own_key_is_taken_and_one_that_was_used_is_not() {
    for rig in Rig::all(2).await {
        let own = rig.file("own");
        let key = MasterKey::make(&own).unwrap();
        let with = async |kept: &Kept, file: &Path| rotate(&rig.store, kept, Some(file.to_owned())).await;
        with(&rig.kept, &own).await.unwrap();
        rig.is_rotated(2, 2).await;
        assert_eq!(rig.key("books.db.key").check_value(), key.check_value());
        for (used, version) in [("own", 2), ("books.db.key.v1", 1)] {
            let told = with(&rig.kept, &rig.file(used)).await.unwrap_err().to_string();
            assert!(told.contains(&format!("used before, version {version}")), "{told}");
            std::fs::remove_file(rig.file("books.db.key.new")).unwrap();
        }

        // One that is configured has no file that the new one could take the place of.
        let kept = Kept::Configured(key);
        assert!(matches!(rotate(&rig.store, &kept, None).await, Err(RotateError::NoFile)));
        let made = rig.file("made");
        for opened in [8, 0] {
            // The second time the configuration is still as it was.
            let rotation = with(&kept, &made).await.unwrap();
            assert_eq!((rotation.from, rotation.version, rotation.resealed.opened()), (2, 3, opened));
            assert_eq!((&rotation.key_file, rotation.old_key_file), (&made, None));
        }
        let told = in_force(&rig.store, &kept).await.unwrap_err().to_string();
        assert!(
            told.contains("master_key (BOTPRIMEX_MASTER_KEY) is a master key that was replaced"),
            "{told}"
        );
        let kept = Kept::Configured(rig.key("made"));
        in_force(&rig.store, &kept).await.unwrap();
        assert_eq!(check(&rig.store, &kept).await.unwrap().1.opened(), 8);
    }
}

#[tokio::test]
async fn what_does_not_open_stays_as_it_is_and_is_told_of() {
    for rig in Rig::all(2).await {
        let stray = Vault::new(MasterKey::draw(), 1);
        store_webhook(&rig.store, &stray, rig.account, 9).await;
        store_answer(&rig.store, &stray, rig.account, 9).await;
        let resealed = rig.rotate().await.unwrap().resealed;
        assert_eq!((resealed.opened(), resealed.unreadable, resealed.unreadable_answers), (8, 1, 1));
        let secrets = check(&rig.store, &rig.kept).await.unwrap().1;
        assert_eq!((secrets.opened(), secrets.unreadable, secrets.unreadable_answers), (8, 1, 1));
    }
}

#[tokio::test]
async fn what_the_key_before_opens_is_left_nowhere_in_the_file() {
    let mut rigs = Rig::all(20).await;
    // PostgreSQL's files are not ours to read.
    let rig = rigs.swap_remove(0);
    let before = rig.everything().await;
    let found = || {
        let files =
            ["books.db", "books.db-wal"].map(|name| std::fs::read(rig.file(name)).unwrap_or_default());
        let is_there =
            |part: &[u8]| files.iter().any(|file| file.windows(part.len()).any(|window| window == part));
        let sealed = before.iter().filter(|sealed| match sealed {
            Sealed::Exchange { sealed, .. } => is_there(&sealed.data_key) || is_there(&sealed.api_secret),
            Sealed::Webhook { sealed, .. } | Sealed::Hook { sealed, .. } => {
                is_there(&sealed.data_key) || is_there(&sealed.sealed)
            }
            Sealed::Answer { sealed, .. } => is_there(sealed.body.as_bytes()),
        });
        sealed.count()
    };
    assert_eq!(found(), 80);
    rig.rotate().await.unwrap();
    assert_eq!(found(), 0);
}

#[tokio::test]
async fn without_its_master_key_a_backup_is_of_no_use() {
    for rig in Rig::all(3).await {
        let key = rig.file("books.db.key");
        std::fs::rename(&key, rig.file("elsewhere")).unwrap();
        assert!(rig.refusal().await.contains("is missing: restore"));
        assert!(!key.exists(), "no other key is made in its place");
        MasterKey::make(&key).unwrap();
        assert!(rig.refusal().await.contains("is not the master key"));
        assert!(check(&rig.store, &rig.kept).await.is_err());
        // Nor where whoever has it makes the store believe that it is.
        rig.store.remember_master_key(1, rig.key("books.db.key").check_value(), NOW).await.unwrap();
        let secrets = check(&rig.store, &rig.kept).await.unwrap().1;
        assert_eq!((secrets.opened(), secrets.unreadable, secrets.unreadable_answers), (0, 9, 3));
    }
}

#[tokio::test]
async fn a_lost_key_is_gone_on_without_once_everything_is_forgotten() {
    for rig in Rig::all(2).await {
        let next = MasterKey::draw();
        rig.store.begin_rotation(2, next.check_value(), NOW).await.unwrap();
        std::fs::remove_file(rig.file("books.db.key")).unwrap();
        let forgotten = rig.store.forget_secrets(NOW).await.unwrap();
        assert_eq!((forgotten.exchanges, forgotten.webhooks, forgotten.hooks), (2, 2, 2));
        let vault = in_force(&rig.store, &rig.kept).await.unwrap();
        let webhooks = rig.store.webhooks(rig.account, 9, None).await.unwrap().rows;
        assert!(webhooks.iter().all(|webhook| {
            webhook.progress.disabled.as_deref().is_some_and(|why| why.contains("rotate it"))
        }));
        assert!(store_connection(&rig.store, &vault, rig.account, 0).await);
        let secrets = check(&rig.store, &rig.kept).await.unwrap().1;
        assert_eq!((secrets.opened(), secrets.unreadable, secrets.unreadable_answers), (1, 0, 2));
    }
}

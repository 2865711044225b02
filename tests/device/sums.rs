//! Rows added up over two processes, which find each other by files, and of which one dies.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use norm_host::{DType, Device, Error, GroupFailure, PeerOffer, PeerOptions, ReduceGroup, TpContext};
use norm_testing::device::all_reduce::{Ranks, Reduction};

/// How long a process waits for what the other one writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for what processes tell each other, removed when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Result<Folder, Failed> {
        let path = std::env::temp_dir().join(format!("norm-offers-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there does not matter.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The part of a rank: calls that both make, of which each result is that of the CPU. Then the second process ends, and the first
/// one's next call fails within its patience.
pub fn rank(rank: &str, ordinal: &str, folder: &str) -> Result<(), Failed> {
    let (rank, ordinal): (usize, u32) = (rank.parse()?, ordinal.parse()?);
    let tp = TpContext::on_devices(&[ordinal])?;
    let device: Device = *tp.streams()[0].device();
    let options = PeerOptions {
        buffer_bytes: 1 << 20,
        patience: Duration::from_secs(2),
        blocks: Some(16),
        one_shot_bytes: Some(1 << 19),
        packet_bytes: Some(1 << 16),
    };
    let offer = PeerOffer::new(&tp, options)?;
    let own = offer.to_bytes()?[0];
    let folder = Path::new(folder);
    fs::write(folder.join(format!("{rank}.part")), own)?;
    fs::rename(folder.join(format!("{rank}.part")), folder.join(rank.to_string()))?;
    let other = wait_for(&folder.join((1 - rank).to_string()))?;
    let all = if rank == 0 { [own, other] } else { [other, own] };
    let group = ReduceGroup::from(offer.join(&all, rank)?);
    for seed in 1..=10 {
        // Rows of one launch and of several, as packets, one-shot and two-shot.
        for (rows, dim) in [(1, 8192), (40, 4096), (300, 4096)] {
            let call = Reduction { seed, ..Reduction::plain(DType::F16, rows, dim) };
            let mut ranks = Ranks::upload(&[device], rank, &call)?;
            ranks.enqueue(&tp, &group)?;
            tp.synchronize()?;
            group.status()?;
            ranks.check(device, 2)?;
        }
    }
    if rank == 1 {
        // Nothing is dropped, as when a process dies.
        std::process::exit(0);
    }
    let began = Instant::now();
    let mut ranks = Ranks::upload(&[device], rank, &Reduction::plain(DType::F16, 1, 8192))?;
    ranks.enqueue(&tp, &group)?;
    tp.synchronize()?;
    let absent = Error::GroupFailed { failure: GroupFailure::Absent { rank: 1 } };
    assert_eq!(group.status(), Err(absent.clone()));
    assert_eq!(ranks.enqueue(&tp, &group), Err(absent));
    assert!(began.elapsed() < Duration::from_secs(10), "it waited {:?}", began.elapsed());
    Ok(())
}

fn wait_for(file: &Path) -> Result<[u8; PeerOffer::BYTES], Failed> {
    let until = Instant::now() + PATIENCE;
    loop {
        match fs::read(file) {
            Ok(bytes) => return bytes.try_into().map_err(|_| "an offer of another length".into()),
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        }
    }
}

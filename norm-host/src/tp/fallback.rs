//! The group of an all-reduce: peers whose kernels meet, or where devices do not reach each other, NCCL.

use norm_kernels::abi::NormKind;

use super::{
    AllReduce, RowSums, TpContext,
    all_reduce::{self, Lists},
    peers::{PeerGroup, PeerOptions},
};
use crate::{
    error::{Error, Result},
    launch::launch,
    nccl::NcclGroup,
    norm::Norm,
    plan::Plan,
    tensor::Place,
};

/// The devices of a group, by which rows are added up: [`all_reduce_add_rms_norm`](crate::all_reduce_add_rms_norm).
///
/// It is an [`AllReduce`], too: [`rms_norm_sharded`](crate::rms_norm_sharded) adds up its sums by it.
#[derive(Debug)]
pub struct ReduceGroup {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Peers(PeerGroup),
    Nccl { nccl: NcclGroup, apart: Option<(Place, Place)> },
}

/// How a [`ReduceGroup`] adds up rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// One kernel a device, which reads the other devices' rows.
    Peers,
    /// NCCL's all-reduce, and behind it the norm as a kernel of its own. The order in which NCCL adds, and where it rounds, are
    /// its own.
    Nccl {
        /// The devices of which the first has no access to the memory of the second; `None` where the group was made of a
        /// [`NcclGroup`].
        apart: Option<(Place, Place)>,
    },
}

impl ReduceGroup {
    /// A group that has all its ranks in this process: of peers, or, where two of its devices do not reach each other, of NCCL.
    ///
    /// # Errors
    ///
    /// As for [`PeerGroup::new`], but that [`NoPeerAccess`](Error::NoPeerAccess) is not one; as for [`NcclGroup::new`] where the
    /// group falls back.
    pub fn new(tp: &TpContext, options: PeerOptions) -> Result<ReduceGroup> {
        match PeerGroup::new(tp, options) {
            Err(Error::NoPeerAccess { from, to }) => {
                Ok(ReduceGroup { way: Way::Nccl { nccl: NcclGroup::new(tp)?, apart: Some((from, to)) } })
            }
            peers => Ok(ReduceGroup { way: Way::Peers(peers?) }),
        }
    }

    /// How rows are added up.
    pub fn transport(&self) -> Transport {
        match self.way {
            Way::Peers(_) => Transport::Peers,
            Way::Nccl { apart, .. } => Transport::Nccl { apart },
        }
    }

    /// Whether the group still works, as [`PeerGroup::status`] or [`NcclGroup::status`] says.
    ///
    /// # Errors
    ///
    /// What they return.
    pub fn status(&self) -> Result<()> {
        match &self.way {
            Way::Peers(peers) => peers.status(),
            Way::Nccl { nccl, .. } => nccl.status(),
        }
    }

    pub(super) fn peers(&self) -> Option<&PeerGroup> {
        match &self.way {
            Way::Peers(peers) => Some(peers),
            Way::Nccl { .. } => None,
        }
    }

    /// Checks that the group is one of these streams, and still works.
    pub(super) fn check(&self, tp: &TpContext) -> Result<()> {
        match &self.way {
            Way::Peers(peers) => peers.check(tp),
            Way::Nccl { nccl, .. } => AllReduce::check(nccl, tp),
        }
    }

    /// The operation by NCCL and a kernel for the norm, for lists that have been checked.
    pub(super) fn fall_back(
        &self,
        norm: &Norm<'_>,
        kind: Option<NormKind>,
        lists: &Lists<'_, '_>,
        tp: &TpContext,
    ) -> Result<()> {
        let Way::Nccl { nccl, .. } = &self.way else { return Ok(()) };
        let plan = |index: usize| -> Result<Plan> {
            let stream = &tp.streams[index];
            let mut problem = lists.problem(norm, index, stream)?;
            // The norm reads the sum from where NCCL leaves it.
            problem.x = problem.y;
            for axis in &mut problem.axes {
                axis.x_stride = axis.y_stride;
            }
            Plan::new(&problem, stream.device().profile())
        };
        for (index, stream) in tp.streams.iter().enumerate().filter(|_| kind.is_some()) {
            let load = || stream.device().kernel(plan(index)?.kernel).map(drop);
            load().map_err(|error| tp.at(index, 0, error))?;
        }
        nccl.all_reduce_rows(tp, |index| lists.problem(norm, index, &tp.streams[index]))?;
        for (index, stream) in tp.streams.iter().enumerate().filter(|_| kind.is_some()) {
            // SAFETY: as for the launch of a group's kernel: `y` may be read, because it may be written, and the sum is in it.
            let launch = || unsafe { launch(stream, &plan(index)?) };
            launch().map_err(|error| tp.at(index, index, error))?;
        }
        Ok(())
    }
}

impl From<PeerGroup> for ReduceGroup {
    /// A group of peers, such as one of several processes.
    fn from(peers: PeerGroup) -> ReduceGroup {
        ReduceGroup { way: Way::Peers(peers) }
    }
}

impl From<NcclGroup> for ReduceGroup {
    /// A group of NCCL's, such as one of more than eight ranks or of several hosts. In a group of several processes the rows of
    /// all have gaps between them, or of none.
    fn from(nccl: NcclGroup) -> ReduceGroup {
        ReduceGroup { way: Way::Nccl { nccl, apart: None } }
    }
}

impl AllReduce for ReduceGroup {
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()> {
        match &self.way {
            Way::Peers(peers) => {
                let rows = sums.iter().next().map_or(0, |sums| sums.rows);
                let address = |index: usize| sums.iter().nth(index).map_or(0, |sums| sums.address);
                all_reduce::sums(address, rows, sums.group(), peers)
            }
            Way::Nccl { nccl, .. } => nccl.all_reduce(sums),
        }
    }

    fn check(&self, tp: &TpContext) -> Result<()> {
        ReduceGroup::check(self, tp)
    }
}

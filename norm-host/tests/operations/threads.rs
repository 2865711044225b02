//! What may go from thread to thread, and what may be used by several: this compiles, or it does not
//! hold.

use norm_host::{
    ContextGuard, Cpu, Device, Error, Graph, NcclGroup, NcclId, Norm, PeerGroup, PeerOffer, Positions,
    QkNormRope, QuantizedMut, ReduceGroup, RowSums, Shard, Stream, TpContext, View, ViewMut,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(Device: Send, Sync);
assert_impl_all!(Stream: Send, Sync);
assert_impl_all!(TpContext: Send, Sync);
assert_impl_all!(NcclGroup: Send, Sync);
assert_impl_all!(NcclId: Send, Sync);
assert_impl_all!(ReduceGroup: Send, Sync);
assert_impl_all!(PeerGroup: Send, Sync);
assert_impl_all!(PeerOffer: Send, Sync);
assert_impl_all!(Cpu: Send, Sync);
assert_impl_all!(Error: Send, Sync, std::error::Error);
assert_impl_all!(View<'static>: Send, Sync);
assert_impl_all!(ViewMut<'static>: Send, Sync);
assert_impl_all!(Norm<'static>: Send, Sync);
assert_impl_all!(Positions<'static>: Send, Sync);
assert_impl_all!(QkNormRope<'static>: Send, Sync);
assert_impl_all!(QuantizedMut<'static>: Send, Sync);
assert_impl_all!(Shard<'static>: Send, Sync);
assert_impl_all!(RowSums<'static>: Send, Sync);
#[cfg(feature = "sim")]
assert_impl_all!(norm_host::Simulator: Send, Sync);

// The driver takes one launch of a graph at a time.
assert_impl_all!(Graph: Send);
assert_not_impl_any!(Graph: Sync);
// A context is current on one thread.
assert_not_impl_any!(ContextGuard: Send);

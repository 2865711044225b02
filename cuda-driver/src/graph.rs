//! CUDA graphs of captured work.

use crate::call::call;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::sys::{CUgraph, CUgraphExec, CUstream};

impl Driver {
    /// Instantiates a captured graph, so that it can be launched.
    ///
    /// # Safety
    /// The graph is alive.
    pub unsafe fn graph_instantiate(&self, graph: CUgraph) -> Result<CUgraphExec, DriverError> {
        let mut exec = std::ptr::null_mut();
        // SAFETY: the caller guarantees that the graph is alive; writes one handle.
        unsafe { call!(self.extra.cuGraphInstantiateWithFlags(&mut exec, graph, 0)) }?;
        Ok(exec)
    }

    /// Enqueues the graph's work on a stream.
    ///
    /// # Safety
    /// Both are alive (the stream may be null with a context current), and so is the memory that
    /// the captured work reads and writes, until that work is done.
    pub unsafe fn graph_launch(&self, exec: CUgraphExec, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that both handles are alive, and the memory of the captured work until it is done.
        unsafe { call!(self.extra.cuGraphLaunch(exec, stream)) }
    }

    /// Destroys a captured graph. Graphs instantiated from it stay.
    ///
    /// # Safety
    /// The graph is alive and not used afterwards.
    pub unsafe fn graph_destroy(&self, graph: CUgraph) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the graph is alive and not used afterwards.
        unsafe { call!(self.common.cuGraphDestroy(graph)) }
    }

    /// Destroys an instantiated graph once its launches are done; does not wait for them.
    ///
    /// # Safety
    /// The graph is alive and not used afterwards.
    pub unsafe fn graph_exec_destroy(&self, exec: CUgraphExec) -> Result<(), DriverError> {
        // SAFETY: the caller guarantees that the graph is alive and not used afterwards.
        unsafe { call!(self.extra.cuGraphExecDestroy(exec)) }
    }
}

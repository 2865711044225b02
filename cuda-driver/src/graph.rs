//! Graphs of captured work.

use crate::driver::{Driver, call};
use crate::error::DriverError;
use crate::sys::{CUgraph, CUgraphExec, CUstream};

impl Driver {
    /// Makes a captured graph ready to be launched.
    ///
    /// # Safety
    /// The graph is alive.
    pub unsafe fn graph_instantiate(&self, graph: CUgraph) -> Result<CUgraphExec, DriverError> {
        let mut exec = std::ptr::null_mut();
        // SAFETY: the caller's promise; writes one handle.
        unsafe { call!(self.extra.cuGraphInstantiateWithFlags(&mut exec, graph, 0)) }?;
        Ok(exec)
    }

    /// Gives the graph's work to a stream.
    ///
    /// # Safety
    /// Both are alive (the stream may be null with a context current), and so is the memory that
    /// the captured work reads and writes, until that work is done.
    pub unsafe fn graph_launch(&self, exec: CUgraphExec, stream: CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.extra.cuGraphLaunch(exec, stream)) }
    }

    /// Destroys a captured graph; those made ready from it stay.
    ///
    /// # Safety
    /// The graph is alive and not used afterwards.
    pub unsafe fn graph_destroy(&self, graph: CUgraph) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.common.cuGraphDestroy(graph)) }
    }

    /// Destroys a ready graph once its launches are done; does not wait.
    ///
    /// # Safety
    /// The graph is alive and not used afterwards.
    pub unsafe fn graph_exec_destroy(&self, exec: CUgraphExec) -> Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { call!(self.extra.cuGraphExecDestroy(exec)) }
    }
}

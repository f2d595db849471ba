//! When commands ran: timestamps of the device on the host's clock.
//!
//! Deliberately absent: who asks (`completion.rs`). Tested in the contract suite.

use crate::error::Fallible;
use crate::gpu::Gpu;
use ash::vk;
use lockgate_runtime::Result;
use lockgate_sync::CommandRef;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Timestamps of a recording: two for the batch, two for each command that is timed.
pub(crate) struct Stamps {
    gpu: Arc<Gpu>,
    pool: vk::QueryPool,
    room: u32,
    used: u32,
    on: bool,
    commands: bool,
    /// Commands with their first timestamp.
    pub(crate) timed: Vec<(CommandRef, u32)>,
}

impl Stamps {
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Stamps {
        let (pool, gpu) = (vk::QueryPool::null(), gpu.clone());
        Stamps { gpu, pool, room: 0, used: 0, on: false, commands: false, timed: Vec::new() }
    }

    /// Starts a batch with so many commands to time. `on`: the queue has timestamps.
    pub(crate) fn begin(&mut self, into: vk::CommandBuffer, on: bool, commands: usize) -> Result<()> {
        self.on = on;
        self.commands = on && commands > 0;
        self.used = 0;
        if !on {
            return Ok(());
        }
        let need = 2 + 2 * commands as u32;
        if need > self.room {
            self.grow(need)?;
        }
        // SAFETY: the device has the feature hostQueryReset, and no batch in flight uses the pool.
        unsafe { self.gpu.raw.reset_query_pool(self.pool, 0, need) };
        self.write(into, vk::PipelineStageFlags2::TOP_OF_PIPE);
        Ok(())
    }

    /// The same for a batch that says the same once more.
    pub(crate) fn begin_again(&mut self) {
        if self.on {
            // SAFETY: as above.
            unsafe { self.gpu.raw.reset_query_pool(self.pool, 0, self.used) };
        }
    }

    fn grow(&mut self, need: u32) -> Result<()> {
        self.destroy();
        self.room = need.next_power_of_two();
        let info =
            vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(self.room);
        // SAFETY: the device is alive.
        self.pool = unsafe { self.gpu.raw.create_query_pool(&info, None) }.or_fail("making timestamps")?;
        Ok(())
    }

    fn write(&mut self, into: vk::CommandBuffer, after: vk::PipelineStageFlags2) -> u32 {
        let query = self.used;
        self.used += 1;
        // SAFETY: the command buffer is being recorded; the pool has room, and this timestamp was reset.
        unsafe { self.gpu.raw.cmd_write_timestamp2(into, after, self.pool, query) };
        query
    }

    pub(crate) fn before(&mut self, into: vk::CommandBuffer) -> Option<u32> {
        self.commands.then(|| self.write(into, vk::PipelineStageFlags2::TOP_OF_PIPE))
    }

    pub(crate) fn after(&mut self, into: vk::CommandBuffer, start: Option<u32>, command: CommandRef) {
        if let Some(start) = start {
            self.write(into, vk::PipelineStageFlags2::ALL_COMMANDS);
            self.timed.push((command, start));
        }
    }

    pub(crate) fn end(&mut self, into: vk::CommandBuffer) {
        if self.on {
            self.write(into, vk::PipelineStageFlags2::ALL_COMMANDS);
        }
    }

    /// All timestamps of the batch, which is done; nothing on a queue without.
    pub(crate) fn read(&self) -> Vec<u64> {
        if !self.on || self.used == 0 {
            return Vec::new();
        }
        let mut ticks = vec![0u64; self.used as usize];
        let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
        // SAFETY: the batch is done, so all of these were written.
        let read = unsafe { self.gpu.raw.get_query_pool_results(self.pool, 0, &mut ticks, flags) };
        if read.is_ok() { ticks } else { Vec::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.timed.clear();
        self.used = 0;
    }

    fn destroy(&mut self) {
        // SAFETY: no batch in flight uses the pool; a null pool is nothing.
        unsafe { self.gpu.raw.destroy_query_pool(self.pool, None) };
        self.pool = vk::QueryPool::null();
    }
}

impl Drop for Stamps {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// The host's clock beside the device's.
pub(crate) struct Clock {
    opened: Instant,
    /// One moment on both: ticks, and the time since the device was opened.
    both: Option<(u64, Duration)>,
    period: f64,
}

impl Clock {
    pub(crate) fn new(gpu: &Gpu) -> Clock {
        let opened = Instant::now();
        Clock { opened, both: calibrate(gpu, opened), period: f64::from(gpu.limits.timestamp_period) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Ticks as the time since the device was opened. Without calibration, the last tick of a batch counts as the time
    /// at which the host saw its end.
    pub(crate) fn time(&self, tick: u64, last: u64, seen: Duration) -> Duration {
        let (anchor, at) = self.both.unwrap_or((last, seen));
        let nanoseconds = |ticks: u64| Duration::from_nanos((ticks as f64 * self.period) as u64);
        let time = match tick.checked_sub(anchor) {
            Some(later) => at + nanoseconds(later),
            None => at.saturating_sub(nanoseconds(anchor - tick)),
        };
        // The clocks drift; nothing ends after it was seen to have ended.
        time.min(seen)
    }
}

/// One moment on both clocks.
fn calibrate(gpu: &Gpu, opened: Instant) -> Option<(u64, Duration)> {
    let functions = gpu.calibrated.as_ref()?;
    let info = [vk::CalibratedTimestampInfoKHR::default().time_domain(vk::TimeDomainKHR::DEVICE)];
    let before = opened.elapsed();
    // SAFETY: the device has the extension, and every device with it knows its own time domain.
    let (ticks, _) = unsafe { functions.get_calibrated_timestamps(&info) }.ok()?;
    let after = opened.elapsed();
    Some((*ticks.first()?, (before + after) / 2))
}

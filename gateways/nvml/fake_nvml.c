/* A libnvidia-ml.so.1 without a GPU: the part of NVML that Headrace's gateway and actuators use, over the state
 * file that gateways/nvml/state.py describes. nvml_state.h is generated from there.
 *
 * Rules: the library holds no state but the mapping and its event sets, so that any number of processes see one
 * host; a device call answers the GPU's return code first; an unknown field is NOT_SUPPORTED, never 0.
 * HEADRACE_FAKE_NVML_STATE is PATH or PATH#FIRST:COUNT: a host has a window of the file's GPUs. */
#define _GNU_SOURCE
#include "nvml_state.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int Return;
enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, TIMEOUT = 10, MEMORY = 20, NO_DATA = 21 };
enum { VALUE_UNSIGNED_INT = 1, VALUE_UNSIGNED_LONG_LONG = 3, VALUE_SIGNED_INT = 5 };
#define EVENT_XID 8ULL

typedef struct { unsigned fieldId, scopeId; long long timestamp, latencyUsec; int valueType; Return nvmlReturn;
                 union { unsigned ui; int si; unsigned long long ull; } value; } FieldValue;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } FirstMemory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned version, isSupportedDevice; } GpmSupport;
typedef struct { uint64_t clock_ns; StateGpu gpu; } GpmSample;
typedef struct { unsigned metricId; Return nvmlReturn; double value; const char *names[3]; } GpmMetric;
typedef struct { unsigned version, numMetrics; GpmSample *before, *now; GpmMetric metrics[]; } GpmQuestion;
typedef struct { unsigned version; int margin; } MarginTemperature;
typedef struct { void *device; unsigned long long type, data; unsigned gpuInstance, computeInstance; } EventData;
typedef struct { unsigned count; unsigned next; unsigned char watched[65536]; unsigned seen[65536]; } EventSet;

static StateHeader *header;
static StateGpu *gpus;
static unsigned first, window;

int headrace_fake_nvml = 1; /* tells the actuators' guard that this is no driver */

static Return map_state(void) {
    const char *named = getenv(STATE_ENVIRONMENT);
    char path[4096];
    unsigned from = 0, count = ~0u;
    struct stat status;
    if (header) return header->driver_loaded ? SUCCESS : DRIVER_NOT_LOADED;
    if (!named || strlen(named) >= sizeof path) return DRIVER_NOT_LOADED;
    strcpy(path, named);
    char *mark = strrchr(path, '#');
    if (mark && sscanf(mark, "#%u:%u", &from, &count) == 2) *mark = 0;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return DRIVER_NOT_LOADED;
    void *mapped = MAP_FAILED;
    if (fstat(file, &status) == 0 && status.st_size >= (off_t)sizeof(StateHeader))
        mapped = mmap(0, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return DRIVER_NOT_LOADED;
    StateHeader *found = mapped;
    if (found->magic != STATE_MAGIC || found->version != STATE_VERSION || found->gpu_bytes != sizeof(StateGpu) ||
        !found->driver_loaded || from > found->count ||
        (size_t)status.st_size < sizeof(StateHeader) + (size_t)found->count * sizeof(StateGpu)) {
        munmap(mapped, (size_t)status.st_size);
        return DRIVER_NOT_LOADED;
    }
    header = found;
    gpus = (StateGpu *)(found + 1) + from;
    first = from;
    window = found->count - from < count ? found->count - from : count;
    return SUCCESS;
}

static Return find(void *handle, StateGpu **gpu) {
    uintptr_t number = (uintptr_t)handle;
    if (!header) return UNINITIALIZED;
    if (header->call_delay_us) usleep(header->call_delay_us);
    if (!header->driver_loaded) return DRIVER_NOT_LOADED;
    if (number < 1 || number > window || first + number > header->count) return INVALID_ARGUMENT;
    *gpu = &gpus[number - 1];
    return (Return)(*gpu)->return_code;
}
#define DEVICE StateGpu *gpu; Return code = find(handle, &gpu); if (code) return code
#define NEEDS(field) if (gpu->not_supported >> (field) & 1) return NOT_SUPPORTED

Return nvmlInit_v2(void) { return map_state(); }
Return nvmlInitWithFlags(unsigned flags) { (void)flags; return map_state(); }
Return nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(Return code) {
    return code == SUCCESS ? "Success" : code == NOT_SUPPORTED ? "Not Supported" : code == 15 ? "GPU is lost"
         : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : code == 4 ? "Insufficient Permissions" : "Unknown Error";
}
static Return text(char *into, unsigned size, const char *from) {
    if (strlen(from) >= size) return INSUFFICIENT_SIZE;
    strcpy(into, from);
    return SUCCESS;
}
Return nvmlSystemGetDriverVersion(char *into, unsigned size) { return text(into, size, "headrace-fake-1"); }
Return nvmlDeviceGetCount_v2(unsigned *count) {
    if (!header) return UNINITIALIZED;
    if (!header->driver_loaded) return DRIVER_NOT_LOADED;
    *count = window;
    return SUCCESS;
}
Return nvmlDeviceGetHandleByIndex_v2(unsigned index, void **into) {
    void *handle = (void *)(uintptr_t)(index + 1);
    DEVICE;
    *into = handle;
    return SUCCESS;
}
Return nvmlDeviceGetName(void *handle, char *into, unsigned size) { DEVICE; return text(into, size, "Headrace simulated GPU"); }
Return nvmlDeviceGetUUID(void *handle, char *into, unsigned size) { DEVICE; return text(into, size, gpu->uuid); }
Return nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *into) {
    DEVICE; NEEDS(FIELD_TEMPERATURE);
    if (sensor) return INVALID_ARGUMENT;
    *into = (unsigned)gpu->temperature_c;
    return SUCCESS;
}
Return nvmlDeviceGetMarginTemperature(void *handle, MarginTemperature *into) {
    DEVICE; NEEDS(FIELD_TEMPERATURE_MARGIN);
    into->margin = gpu->temperature_margin_c;
    return SUCCESS;
}
Return nvmlDeviceGetClockInfo(void *handle, unsigned kind, unsigned *into) {
    DEVICE;
    if (kind == 2) { NEEDS(FIELD_MEMORY_CLOCK); *into = gpu->memory_clock_mhz; return SUCCESS; }
    NEEDS(FIELD_SM_CLOCK);
    *into = gpu->sm_clock_mhz;
    return SUCCESS;
}
Return nvmlDeviceGetUtilizationRates(void *handle, Utilization *into) {
    DEVICE; NEEDS(FIELD_GPU_UTILIZATION);
    into->gpu = gpu->gpu_utilization_pct;
    into->memory = gpu->memory_utilization_pct;
    return SUCCESS;
}
Return nvmlDeviceGetMemoryInfo(void *handle, FirstMemory *into) {
    DEVICE; NEEDS(FIELD_MEMORY_USED);
    into->total = gpu->memory_total_bytes;
    into->used = gpu->memory_used_bytes;
    into->free = into->total - into->used;
    return SUCCESS;
}
Return nvmlDeviceGetMemoryInfo_v2(void *handle, Memory *into) {
    DEVICE; NEEDS(FIELD_MEMORY_USED);
    into->total = gpu->memory_total_bytes;
    into->reserved = 0;
    into->used = gpu->memory_used_bytes;
    into->free = into->total - into->used;
    return SUCCESS;
}
Return nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *into) {
    DEVICE; NEEDS(FIELD_EVENT_REASONS);
    *into = gpu->event_reasons;
    return SUCCESS;
}
Return nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *into) {
    DEVICE; NEEDS(FIELD_ENFORCED_POWER_LIMIT);
    *into = gpu->enforced_power_limit_mw;
    return SUCCESS;
}
Return nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *into) {
    DEVICE; *into = gpu->power_limit_mw; return SUCCESS;
}
Return nvmlDeviceGetPowerManagementDefaultLimit(void *handle, unsigned *into) {
    DEVICE; *into = gpu->power_limit_default_mw; return SUCCESS;
}
Return nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned *low, unsigned *high) {
    DEVICE; *low = gpu->power_limit_min_mw; *high = gpu->power_limit_max_mw; return SUCCESS;
}
Return nvmlDeviceSetPowerManagementLimit(void *handle, unsigned limit_mw) {
    struct timespec now;
    DEVICE;
    if (gpu->set_return_code) return (Return)gpu->set_return_code;
    if (limit_mw < gpu->power_limit_min_mw || limit_mw > gpu->power_limit_max_mw) return INVALID_ARGUMENT;
    clock_gettime(CLOCK_REALTIME, &now);
    gpu->limit_written_ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
    gpu->power_limit_mw = gpu->enforced_power_limit_mw = limit_mw;
    __atomic_fetch_add(&gpu->limit_writes, 1, __ATOMIC_RELEASE);
    return SUCCESS;
}

static Return field(const StateGpu *gpu, unsigned id, FieldValue *into) {
    unsigned of;
    unsigned long long value;
    int type = VALUE_UNSIGNED_LONG_LONG;
    switch (id) {
    case 3: of = FIELD_ECC_CORRECTED; value = gpu->ecc_corrected; break;
    case 4: of = FIELD_ECC_UNCORRECTED; value = gpu->ecc_uncorrected; break;
    case 82: of = FIELD_MEMORY_TEMPERATURE; value = (unsigned)gpu->memory_temperature_c; type = VALUE_SIGNED_INT; break;
    case 83: of = FIELD_ENERGY; value = gpu->energy_mj; break;
    case 94: of = FIELD_PCIE_REPLAYS; value = gpu->pcie_replays; type = VALUE_UNSIGNED_INT; break;
    case 138: of = FIELD_NVLINK_THROUGHPUT; value = gpu->nvlink_sent_kib; break;
    case 139: of = FIELD_NVLINK_THROUGHPUT; value = gpu->nvlink_received_kib; break;
    case 142: of = FIELD_REMAPPED_ROWS; value = gpu->remapped_rows_corrected; type = VALUE_UNSIGNED_INT; break;
    case 143: of = FIELD_REMAPPED_ROWS; value = gpu->remapped_rows_uncorrected; type = VALUE_UNSIGNED_INT; break;
    case 185: of = FIELD_POWER_MEAN; value = gpu->power_mean_mw; type = VALUE_UNSIGNED_INT; break;
    case 186: of = FIELD_POWER_INSTANT; value = gpu->power_mw; type = VALUE_UNSIGNED_INT; break;
    case 219: of = FIELD_NVLINK_ERRORS; value = gpu->nvlink_errors; break;
    case 230: of = FIELD_RECOVERY_ACTION; value = gpu->recovery_action; type = VALUE_UNSIGNED_INT; break;
    case 260: of = FIELD_POWER_SMOOTHING_FLOOR; value = gpu->power_smoothing_floor_pct; type = VALUE_UNSIGNED_INT; break;
    default: return NOT_SUPPORTED;
    }
    if (gpu->not_supported >> of & 1) return NOT_SUPPORTED;
    /* A real driver fills only the union's member: what lies above a narrow value is left as it was. */
    if (type == VALUE_UNSIGNED_LONG_LONG) into->value.ull = value; else into->value.ui = (unsigned)value;
    into->valueType = type;
    return SUCCESS;
}
Return nvmlDeviceGetFieldValues(void *handle, int count, FieldValue *values) {
    DEVICE;
    for (int i = 0; i < count; i++) values[i].nvmlReturn = field(gpu, values[i].fieldId, &values[i]);
    return SUCCESS;
}

Return nvmlGpmQueryDeviceSupport(void *handle, GpmSupport *into) {
    DEVICE; into->isSupportedDevice = 1; return SUCCESS;
}
Return nvmlGpmSampleAlloc(GpmSample **into) {
    *into = calloc(1, sizeof(GpmSample));
    return *into ? SUCCESS : MEMORY;
}
Return nvmlGpmSampleFree(GpmSample *sample) { free(sample); return SUCCESS; }
Return nvmlGpmSampleGet(void *handle, GpmSample *sample) {
    DEVICE;
    sample->clock_ns = header->clock_ns;
    sample->gpu = *gpu;
    return SUCCESS;
}
static Return rate(const GpmQuestion *of, unsigned id, double *into) {
    const StateGpu *before = &of->before->gpu, *now = &of->now->gpu;
    uint64_t from, to;
    unsigned field;
    switch (id) {
    case 20: field = FIELD_PCIE_SENT; from = before->pcie_sent_bytes; to = now->pcie_sent_bytes; break;
    case 21: field = FIELD_PCIE_RECEIVED; from = before->pcie_received_bytes; to = now->pcie_received_bytes; break;
    default: return NOT_SUPPORTED;
    }
    if (now->not_supported >> field & 1) return NOT_SUPPORTED;
    if (to < from || of->now->clock_ns <= of->before->clock_ns) return NO_DATA;
    *into = (double)(to - from) * 1e9 / (double)(of->now->clock_ns - of->before->clock_ns) / (1 << 20);
    return SUCCESS;
}
Return nvmlGpmMetricsGet(GpmQuestion *of) {
    for (unsigned i = 0; i < of->numMetrics; i++)
        of->metrics[i].nvmlReturn = rate(of, of->metrics[i].metricId, &of->metrics[i].value);
    return SUCCESS;
}

Return nvmlEventSetCreate(EventSet **into) {
    *into = calloc(1, sizeof(EventSet));
    return *into ? SUCCESS : MEMORY;
}
Return nvmlEventSetFree(EventSet *set) { free(set); return SUCCESS; }
Return nvmlDeviceRegisterEvents(void *handle, unsigned long long types, EventSet *set) {
    uintptr_t number = (uintptr_t)handle - 1;
    DEVICE; NEEDS(FIELD_XID);
    if (!(types & EVENT_XID) || number >= 65536) return NOT_SUPPORTED;
    /* Registered again after a loss: what came meanwhile is still to be delivered. */
    if (!set->watched[number]) set->seen[number] = __atomic_load_n(&gpu->xid_count, __ATOMIC_ACQUIRE);
    set->watched[number] = 1;
    if (number >= set->count) set->count = (unsigned)number + 1;
    return SUCCESS;
}
Return nvmlEventSetWait_v2(EventSet *set, EventData *into, unsigned timeout_ms) {
    if (!header || !header->driver_loaded) return DRIVER_NOT_LOADED;
    for (unsigned waited = 0;; waited++) {
        for (unsigned i = 0; i < set->count; i++) {
            const StateGpu *gpu = &gpus[i];
            unsigned count = __atomic_load_n(&gpu->xid_count, __ATOMIC_ACQUIRE);
            if (!set->watched[i] || count == set->seen[i]) continue;
            if (count - set->seen[i] > XID_RING) set->seen[i] = count - XID_RING;
            memset(into, 0, sizeof *into);
            into->device = (void *)(uintptr_t)(i + 1);
            into->type = EVENT_XID;
            into->data = gpu->xids[set->seen[i]++ % XID_RING];
            return SUCCESS;
        }
        if (waited >= timeout_ms) return TIMEOUT;
        usleep(1000);
    }
}

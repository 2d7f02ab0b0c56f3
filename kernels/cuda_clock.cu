/* kernels/cuda_clock.cu: the clock of the multiprocessors, as the driver's management library gives it.
 *
 * The library comes with the driver, not with the toolkit, so it is looked for when the first clock is asked for; without it every clock is
 * NaN. */
#include "kernels/cuda_device.cuh"

#include <cmath>
#include <dlfcn.h>

enum { MANAGEMENT_OK = 0, CLOCK_OF_SMS = 1 }; /* NVML_SUCCESS, NVML_CLOCK_SM */

struct management {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    int (*find)(const char *bus_id, void **device);
    int (*clock)(void *device, int kind, unsigned *mhz);
};

static bool symbols_load(struct management *m)
{
    m->init = (int (*)(void))dlsym(m->library, "nvmlInit_v2");
    m->shutdown = (int (*)(void))dlsym(m->library, "nvmlShutdown");
    m->find = (int (*)(const char *, void **))dlsym(m->library, "nvmlDeviceGetHandleByPciBusId_v2");
    m->clock = (int (*)(void *, int, unsigned *))dlsym(m->library, "nvmlDeviceGetClockInfo");
    return m->init && m->shutdown && m->find && m->clock;
}

/* d->management stays set where the library is not there, with no library in it, so that it is looked for once. */
static struct management *management_open(struct device *d)
{
    if (d->management) return (struct management *)d->management;
    struct management *m = NULL;
    if (MEM_NEW(&m, 1, "clock") != 0) return NULL;
    d->management = m;
    m->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!m->library) return m;
    if (symbols_load(m) && m->init() == MANAGEMENT_OK) {
        if (m->find(d->bus_id, &d->management_device) == MANAGEMENT_OK) return m;
        m->shutdown();
    }
    d->management_device = NULL;
    dlclose(m->library);
    m->library = NULL;
    return m;
}

double cuda_clock_hz(struct device *d)
{
    const struct management *m = management_open(d);
    unsigned mhz = 0;
    if (!m || !m->library || m->clock(d->management_device, CLOCK_OF_SMS, &mhz) != MANAGEMENT_OK) return NAN;
    return 1e6 * (double)mhz;
}

void cuda_clock_close(struct device *d)
{
    struct management *m = (struct management *)d->management;
    if (!m) return;
    if (m->library) {
        m->shutdown();
        dlclose(m->library);
    }
    mem_free(m);
    d->management = d->management_device = NULL;
}

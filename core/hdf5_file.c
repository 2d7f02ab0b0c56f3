#include "core/hdf5_file.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5_hl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REASON_BYTES = 512, GZIP_LEVEL = 1 };

/* Downward, the last entry is the deepest.  Drivers put the system's words in quotes: error message = '...'. */
static herr_t reason_keep(unsigned depth, const H5E_error2_t *entry, void *data)
{
    static const char mark[] = "error message = '";
    char *reason = data;
    (void)depth;
    if (!entry->desc) return 0;
    const char *at = strstr(entry->desc, mark);
    if (at) {
        at += sizeof mark - 1;
        snprintf(reason, REASON_BYTES, "%.*s", (int)strcspn(at, "'"), at);
    } else {
        snprintf(reason, REASON_BYTES, "%s", entry->desc);
    }
    return 0;
}

int hdf5_fail(const char *fmt, ...)
{
    char reason[REASON_BYTES] = "unknown HDF5 error", where[1024];
    va_list ap;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, reason_keep, reason);
    va_start(ap, fmt);
    vsnprintf(where, sizeof where, fmt, ap);
    va_end(ap);
    return fail("%s: %s", where, reason);
}

static hid_t fapl_new(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    /* Locks where the file system has them; some network mounts do not. */
    H5Pset_file_locking(fapl, true, true);
    H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG);
    return fapl;
}

int hdf5_create(hid_t *file, const char *path)
{
    const unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    const hid_t fapl = fapl_new(), fcpl = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_cache(fapl, 0, 1, 0, 1.0);
    H5Pset_link_creation_order(fcpl, order);
    H5Pset_attr_creation_order(fcpl, order);
    H5Pset_obj_track_times(fcpl, false);
    *file = H5Fcreate(path, H5F_ACC_TRUNC, fcpl, fapl);
    const int rc = *file < 0 ? hdf5_fail("%s: cannot create", path) : 0;
    H5Pclose(fcpl);
    H5Pclose(fapl);
    return rc;
}

int hdf5_open(hid_t *file, const char *path)
{
    /* Asked first: HDF5 reports a missing file and one that is not HDF5 at some length. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail("%s: cannot open: %s", path, strerror(errno));
    close(fd);
    const hid_t fapl = fapl_new();
    *file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
    const int rc = *file < 0 ? hdf5_fail("%s: no readable HDF5 file", path) : 0;
    H5Pclose(fapl);
    return rc;
}

int hdf5_close(hid_t *file, const char *path)
{
    if (*file <= 0) return 0;
    if (H5Fflush(*file, H5F_SCOPE_LOCAL) < 0) return hdf5_fail("%s: cannot write", path);
    if (H5Fclose(*file) < 0) return hdf5_fail("%s: cannot close", path);
    *file = 0;
    return 0;
}

/* A failed write leaves a file that HDF5 can neither flush nor close: H5Fclose() then frees half of it, and the library's
 * exit handler trips over the rest.  So the handler is left out; every file is closed where it was opened. */
__attribute__((constructor)) static void exit_handler_disable(void)
{
    H5dont_atexit();
}

void hdf5_abandon(hid_t *file)
{
    void *handle = NULL;
    if (*file <= 0) return;
    /* The room that the file took is given back, which is what a full disk needs for a last flush.  If even that
     * fails, the file stays open (and so its inode taken: HDF5 knows open files by it). */
    if (H5Fget_vfd_handle(*file, H5P_DEFAULT, &handle) >= 0 && handle && ftruncate(*(int *)handle, 0) == 0 &&
        H5Fflush(*file, H5F_SCOPE_LOCAL) >= 0)
        H5Fclose(*file);
    *file = 0;
}

void hdf5_id_close(hid_t *id)
{
    if (*id > 0) H5Oclose(*id);
    *id = 0;
}

static hid_t string_type(void)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

/* The type in the file: little-endian on every machine, so that equal data are equal bytes. */
static hid_t type_in_file(hid_t type)
{
    if (type == 0) return string_type();
    const hid_t copy = H5Tcopy(type);
    if (H5Tget_class(type) != H5T_STRING) H5Tset_order(copy, H5T_ORDER_LE);
    return copy;
}

static hid_t space_of(const struct hdf5_dataset *d)
{
    hsize_t n[HDF5_MAX_DIMS], max[HDF5_MAX_DIMS];
    if (d->n_dims == 0) return H5Screate(H5S_SCALAR);
    for (int i = 0; i < d->n_dims; i++) max[i] = n[i] = d->dims[i]->n;
    if (d->chunk[0]) max[0] = H5S_UNLIMITED;
    return H5Screate_simple(d->n_dims, n, max);
}

static hid_t dcpl_of(const struct hdf5_dataset *d)
{
    const hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_attr_creation_order(dcpl, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pset_obj_track_times(dcpl, false);
    if (d->fill) H5Pset_fill_value(dcpl, d->type, d->fill);
    if (d->chunk[0]) {
        H5Pset_chunk(dcpl, d->n_dims, d->chunk);
        H5Pset_shuffle(dcpl);
        H5Pset_deflate(dcpl, GZIP_LEVEL);
    }
    return dcpl;
}

static int dataset_describe(hid_t id, const struct hdf5_dataset *d)
{
    for (int i = 0; i < d->n_dims; i++)
        if (d->dims[i]->id > 0 && H5DSattach_scale(id, d->dims[i]->id, (unsigned)i) < 0)
            return hdf5_fail("%s: cannot attach dimension %d", d->name, i);
    if (d->long_name) TRY(hdf5_attr_text(id, "long_name", d->long_name), "%s", d->name);
    if (d->units) TRY(hdf5_attr_text(id, "units", d->units), "%s", d->name);
    if (d->fill) TRY(hdf5_attr_array(id, "_FillValue", d->type, 1, d->fill), "%s", d->name);
    return 0;
}

int hdf5_dataset_create(hid_t *id, hid_t file, const struct hdf5_dataset *d)
{
    const hid_t type = type_in_file(d->type), space = space_of(d), dcpl = dcpl_of(d);
    *id = H5Dcreate2(file, d->name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    const int rc = *id < 0 ? hdf5_fail("cannot create %s", d->name) : 0;
    H5Pclose(dcpl);
    H5Sclose(space);
    H5Tclose(type);
    return rc == 0 ? dataset_describe(*id, d) : rc;
}

int hdf5_dim_create(struct hdf5_dim *dim, hid_t file, const char *name, const char *long_name, size_t n, bool growing)
{
    const struct hdf5_dim length = { 0, n };
    struct hdf5_dataset d = { .name = name, .long_name = long_name, .units = "1", .type = H5T_NATIVE_INT32, .n_dims = 1,
                              .dims = { &length } };
    int32_t *values = NULL;
    if (growing) d.chunk[0] = n < 1024 ? (n ? n : 1) : 1024;
    *dim = length;
    TRY(hdf5_dataset_create(&dim->id, file, &d), "dimension");
    if (H5DSset_scale(dim->id, name) < 0) return hdf5_fail("%s: cannot become a dimension", name);
    TRY(MEM_NEW(&values, n, name), "dimension");
    for (size_t i = 0; i < n; i++) values[i] = (int32_t)i;
    const int rc = hdf5_dataset_write(dim->id, H5T_NATIVE_INT32, values, name);
    mem_free(values);
    return rc;
}

int hdf5_dataset_write(hid_t id, hid_t type, const void *data, const char *name)
{
    const hid_t in_memory = type == 0 ? string_type() : H5Tcopy(type);
    const herr_t rc = H5Dwrite(id, in_memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
    const int result = rc < 0 ? hdf5_fail("cannot write %s", name) : 0;
    H5Tclose(in_memory);
    return result;
}

int hdf5_rows_write(hid_t id, hid_t type, hsize_t first, hsize_t n, const void *data, const char *name)
{
    hsize_t at[HDF5_MAX_DIMS] = { first }, count[HDF5_MAX_DIMS] = { 0 };
    if (n == 0) return 0;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* a thread-safe library has this for each thread */
    const hid_t space = H5Dget_space(id);
    const int n_dims = H5Sget_simple_extent_dims(space, count, NULL);
    count[0] = n;
    const hid_t memory = n_dims > 0 ? H5Screate_simple(n_dims, count, NULL) : -1;
    int rc = 0;
    if (n_dims < 1 || H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, count, NULL) < 0 ||
        H5Dwrite(id, type, memory, space, H5P_DEFAULT, data) < 0)
        rc = hdf5_fail("cannot write %s", name);
    if (memory >= 0) H5Sclose(memory);
    if (space >= 0) H5Sclose(space);
    return rc;
}

/* n 0: a scalar. */
static int attr_write(hid_t id, const char *name, hid_t type, size_t n, const void *value)
{
    const hsize_t count = n;
    const hid_t stored = type_in_file(type), memory = type == 0 ? string_type() : H5Tcopy(type);
    const hid_t space = n == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
    const hid_t attr = H5Acreate2(id, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    int rc = 0;
    if (attr < 0 || H5Awrite(attr, memory, value) < 0) rc = hdf5_fail("cannot write attribute %s", name);
    if (attr >= 0) H5Aclose(attr);
    H5Sclose(space);
    H5Tclose(memory);
    H5Tclose(stored);
    return rc;
}

int hdf5_attr_text(hid_t id, const char *name, const char *value)
{
    return attr_write(id, name, 0, 0, &value);
}

int hdf5_attr_int(hid_t id, const char *name, int64_t value)
{
    return attr_write(id, name, H5T_NATIVE_INT64, 0, &value);
}

int hdf5_attr_float(hid_t id, const char *name, double value)
{
    return attr_write(id, name, H5T_NATIVE_DOUBLE, 0, &value);
}

int hdf5_attr_array(hid_t id, const char *name, hid_t type, size_t n, const void *values)
{
    return attr_write(id, name, type, n, values);
}

bool hdf5_attr_exists(hid_t id, const char *name)
{
    return H5Aexists(id, name) > 0;
}

/* The attribute, if it is one value of the given class. */
static hid_t attr_open_one(hid_t id, const char *name, H5T_class_t wanted)
{
    const hid_t attr = H5Aopen(id, name, H5P_DEFAULT);
    if (attr < 0) return fail("no attribute %s", name);
    const hid_t type = H5Aget_type(attr), space = H5Aget_space(attr);
    const bool good = type >= 0 && space >= 0 && H5Tget_class(type) == wanted && H5Sget_simple_extent_npoints(space) == 1 &&
                      (wanted != H5T_STRING || H5Tis_variable_str(type) > 0);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (good) return attr;
    H5Aclose(attr);
    return fail("attribute %s is not of the expected type", name);
}

int hdf5_attr_read_text(hid_t id, const char *name, char **value)
{
    char *text = NULL;
    *value = NULL;
    const hid_t attr = attr_open_one(id, name, H5T_STRING);
    if (attr < 0) return -1;
    const hid_t type = string_type();
    /* ASCII and UTF-8 texts are read alike: the type in memory follows the file's. */
    const hid_t stored = H5Aget_type(attr);
    H5Tset_cset(type, H5Tget_cset(stored));
    int rc = H5Aread(attr, type, &text) < 0 ? hdf5_fail("cannot read attribute %s", name) : 0;
    if (rc == 0) rc = mem_strdup(value, text ? text : "");
    if (text) H5free_memory(text);
    H5Tclose(stored);
    H5Tclose(type);
    H5Aclose(attr);
    return rc;
}

int hdf5_attr_read_int(hid_t id, const char *name, int64_t *value)
{
    const hid_t attr = attr_open_one(id, name, H5T_INTEGER);
    if (attr < 0) return -1;
    const int rc = H5Aread(attr, H5T_NATIVE_INT64, value) < 0 ? hdf5_fail("cannot read attribute %s", name) : 0;
    H5Aclose(attr);
    return rc;
}

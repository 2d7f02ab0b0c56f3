#include "core/forward.h"

#include "core/err.h"
#include "core/mem.h"

int memory_take(struct memory *m, enum memory_part part, void **p, size_t n_bytes, const char *what)
{
    *p = NULL;
    m->bytes[part] += n_bytes;
    if (m->dry || n_bytes == 0) return 0;
    return m->be->alloc(m->dev, p, n_bytes, what);
}

int table_open(struct memory *m, enum memory_part part, struct table *t, size_t n_bytes, const char *what)
{
    *t = (struct table){ .capacity_bytes = n_bytes };
    TRY(memory_take(m, part, &t->dev, n_bytes, what), "%s", what);
    m->bytes[part] += n_bytes;
    if (m->dry || n_bytes == 0) return 0;
    return mem_alloc(&t->host, 1, n_bytes, what);
}

void table_close(struct memory *m, struct table *t)
{
    if (m && !m->dry) m->be->release(m->dev, t->dev);
    mem_free(t->host);
    *t = (struct table){ 0 };
}

int table_upload(struct memory *m, const struct table *t, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    if (n_bytes > t->capacity_bytes) return fail("a table of %zu bytes cannot take %zu", t->capacity_bytes, n_bytes);
    return m->be->upload(m->dev, t->dev, t->host, n_bytes);
}

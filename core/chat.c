#include "core/chat.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/tokenizer.h"

#include <stdio.h>
#include <string.h>

/* After the chat_template of the models' tokenizer_config.json: SmolLM2-Instruct, Qwen2-Instruct, Qwen2.5-Instruct and
 * Qwen2.5-Coder-Instruct, Qwen3.  The first whose mark a template holds is the one: Qwen2's is a part of Qwen2.5's. */
static const struct chat_format formats[] = {
    { .name = "smollm2",
      .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
      .recognised_by = "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>" },
    { .name = "qwen2.5",
      .family = "qwen",
      .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
      .recognised_by = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>" },
    { .name = "qwen2",
      .family = "qwen",
      .default_system = "You are a helpful assistant.",
      .recognised_by = "You are a helpful assistant.<|im_end|>" },
    { .name = "qwen3",
      .family = "qwen",
      .recognised_by = "<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n')",
      .thinks = true },
};

static const char OPEN[] = "<|im_start|>", SHUT[] = "<|im_end|>", THINK[] = "<think>", THOUGHT[] = "</think>";

enum { N_FORMATS = sizeof formats / sizeof *formats };

const struct chat_format *chat_format_find(const struct tokenizer *t, const char *name)
{
    char names[128] = "";
    bool is_family = false;
    for (int i = 0; i < N_FORMATS; i++) {
        if (strcmp(name, formats[i].name) == 0) return &formats[i];
        is_family = is_family || (formats[i].family && strcmp(name, formats[i].family) == 0);
        strcat(strcat(names, i ? ", " : ""), formats[i].name);
    }
    if (is_family && t->chat && t->chat->family && strcmp(name, t->chat->family) == 0) return t->chat;
    if (is_family)
        fail("chat format '%s': the model's own template does not say which one: name one of %s", name, names);
    else
        fail("chat format '%.60s' is not known: one of %s, qwen", name, names);
    return NULL;
}

const struct chat_format *chat_format_recognise(const char *chat_template)
{
    for (int i = 0; chat_template && i < N_FORMATS; i++)
        if (strstr(chat_template, formats[i].recognised_by)) return &formats[i];
    return NULL;
}

struct rendering {
    const struct tokenizer *t;
    int32_t open, shut; /* the markers' ids */
    struct bpe_output out;
};

/* Text between two markers, which is tokenised as one whole. */
static int render_text(struct rendering *r, const struct str_view *parts, size_t n_parts)
{
    size_t n = 0, n_ids = 0;
    for (size_t i = 0; i < n_parts; i++) n += parts[i].n;
    char *text = NULL;
    int32_t *ids = NULL;
    if (MEM_NEW(&text, n + 1, "chat message") != 0) return -1;
    n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].n) memcpy(text + n, parts[i].at, parts[i].n);
        n += parts[i].n;
    }
    int rc = tokenizer_encode(r->t, text, n, 0, &ids, &n_ids);
    for (size_t i = 0; rc == 0 && i < n_ids; i++) rc = bpe_output_add(&r->out, ids[i]);
    mem_free(text);
    mem_free(ids);
    return rc;
}

static struct str_view view(const char *text)
{
    return (struct str_view){ text, strlen(text) };
}

static int render_message(struct rendering *r, const char *role, const struct str_view *parts, size_t n_parts)
{
    struct str_view all[8] = { view(role), view("\n") };
    const struct str_view newline = view("\n");
    memcpy(all + 2, parts, n_parts * sizeof *parts);
    if (bpe_output_add(&r->out, r->open) != 0) return -1;
    if (render_text(r, all, n_parts + 2) != 0) return -1;
    if (bpe_output_add(&r->out, r->shut) != 0) return -1;
    return render_text(r, &newline, 1);
}

static struct str_view strip_newlines(struct str_view s, bool left, bool right)
{
    while (left && s.n && *s.at == '\n') s = (struct str_view){ s.at + 1, s.n - 1 };
    while (right && s.n && s.at[s.n - 1] == '\n') s.n--;
    return s;
}

/* Cuts s at a mark, the first or the last one in it: what is before and after; without the mark, all of s is both. */
static bool cut(struct str_view s, const char *mark, bool last, struct str_view *before, struct str_view *after)
{
    const size_t n = strlen(mark);
    const char *found = NULL;
    *before = *after = s;
    if (s.n < n) return false;
    for (const char *p = s.at; p <= s.at + (s.n - n) && (last || !found); p++)
        if (memcmp(p, mark, n) == 0) found = p;
    if (!found) return false;
    *before = (struct str_view){ s.at, (size_t)(found - s.at) };
    *after = (struct str_view){ found + n, (size_t)(s.at + s.n - found) - n };
    return true;
}

/* A reply of a model that thinks: recent: after the last user message; is_last: it ends the conversation. */
static int render_thinking(struct rendering *r, struct str_view content, bool recent, bool is_last)
{
    struct str_view before, reply, rest, thinking = { NULL, 0 };
    if (cut(content, THOUGHT, true, &rest, &reply)) {
        reply = strip_newlines(reply, true, false);
        (void)cut(content, THOUGHT, false, &before, &rest);
        (void)cut(strip_newlines(before, false, true), THINK, true, &rest, &thinking);
        thinking = strip_newlines(thinking, true, true);
    }
    if (!recent || !(is_last || thinking.n)) return render_message(r, "assistant", &reply, 1);
    const struct str_view parts[] = { view("<think>\n"), thinking, view("\n</think>\n\n"),
                                      strip_newlines(reply, true, false) };
    return render_message(r, "assistant", parts, sizeof parts / sizeof *parts);
}

static int render_all(struct rendering *r, const struct chat_format *f, const struct chat_message *messages, size_t n,
                      bool with_reply)
{
    size_t last_user = n - 1; /* as Qwen3's template has it when nobody asks */
    for (size_t i = 0; i < n; i++)
        if (strcmp(messages[i].role, "user") == 0) last_user = i;
    if (f->default_system && strcmp(messages[0].role, "system") != 0) {
        const struct str_view system = view(f->default_system);
        if (render_message(r, "system", &system, 1) != 0) return -1;
    }
    for (size_t i = 0; i < n; i++) {
        const bool thinks = f->thinks && strcmp(messages[i].role, "assistant") == 0;
        const int rc = thinks ? render_thinking(r, messages[i].content, i > last_user, i + 1 == n)
                              : render_message(r, messages[i].role, &messages[i].content, 1);
        if (rc != 0) return fail_in("message %zu", i + 1);
    }
    if (!with_reply) return 0;
    const struct str_view opening = view("assistant\n");
    return bpe_output_add(&r->out, r->open) != 0 ? -1 : render_text(r, &opening, 1);
}

static int check_messages(const struct chat_message *messages, size_t n)
{
    if (n == 0) return fail("chat: a conversation needs at least one message");
    for (size_t i = 0; i < n; i++) {
        const char *role = messages[i].role;
        if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0)
            return fail("chat: message %zu: role '%.60s': one of system, user, assistant", i + 1, role);
    }
    return 0;
}

int chat_render(const struct tokenizer *t, const struct chat_format *f, const struct chat_message *messages,
                size_t n_messages, bool with_reply, int32_t **ids, size_t *n_ids)
{
    struct rendering r = { t, tokenizer_find_added(t, view(OPEN)), tokenizer_find_added(t, view(SHUT)), { 0 } };
    *ids = NULL;
    *n_ids = 0;
    if (check_messages(messages, n_messages) != 0) return -1;
    if (r.open < 0 || r.shut < 0)
        return fail("chat format '%s': the tokenizer has no %s token", f->name, r.open < 0 ? OPEN : SHUT);
    if (render_all(&r, f, messages, n_messages, with_reply) != 0) {
        mem_free(r.out.ids);
        return fail_in("chat format '%s'", f->name);
    }
    *ids = r.out.ids;
    *n_ids = r.out.n;
    return 0;
}

/* One reload of PJSIP's objects at a time.
 *
 * A change of a named list has two threads of Asterisk reload the endpoints at once: that of res_pjsip and that of the wizard
 * (acl_change_stasis_cb in pjsip_configuration.c and res_pjsip_config_wizard.c, 22.10.1). The wizard keeps its last
 * configuration in a variable that both free, and Asterisk ends with "double free". Here whoever comes second waits until the
 * first is through with that type of object. See docs/decisions/0023-reload-order.md.
 *
 * Only the types that the wizard makes are guarded, and of them not "registration": its reload waits for threads of SIP, which
 * may be those that wait here. Nobody waits for ever: after PATIENCE_MS it goes on as it would without this module.
 */
#include "asterisk.h"

#include "asterisk/lock.h"
#include "asterisk/logger.h"
#include "asterisk/module.h"
#include "asterisk/sorcery.h"

#define PATIENCE_MS 10000

extern struct ast_sorcery *ast_sip_get_sorcery(void) __attribute__((weak));

AST_MUTEX_DEFINE_STATIC(lock);
static ast_cond_t is_free;
/* Both under the lock. */
static pthread_t holder;
static int depth;

static int is_guarded(const char *type)
{
    static const char *const guarded[] = { "auth", "aor", "endpoint", "identify", "phoneprov" };
    size_t at;

    for (at = 0; at < ARRAY_LEN(guarded); at++)
        if (!strcmp(type, guarded[at]))
            return 1;
    return 0;
}

static void loading(const char *name, const struct ast_sorcery *sorcery, const char *type, int is_reload)
{
    struct timeval end = ast_tvadd(ast_tvnow(), ast_samp2tv(PATIENCE_MS, 1000));
    struct timespec when = { .tv_sec = end.tv_sec, .tv_nsec = end.tv_usec * 1000 };
    int failed = 0;

    (void)name, (void)sorcery, (void)is_reload;
    if (!is_guarded(type))
        return;
    ast_mutex_lock(&lock);
    while (!failed && depth && !pthread_equal(holder, pthread_self()))
        failed = ast_cond_timedwait(&is_free, &lock, &when);
    if (!failed) {
        holder = pthread_self();
        depth++;
    }
    ast_mutex_unlock(&lock);
    if (failed)
        ast_log(LOG_WARNING, "Another reload of '%s' has gone on for %d s: this one does not wait for it\n", type,
            PATIENCE_MS / 1000);
}

static void loaded(const char *name, const struct ast_sorcery *sorcery, const char *type, int is_reload)
{
    (void)name, (void)sorcery, (void)is_reload;
    if (!is_guarded(type))
        return;
    ast_mutex_lock(&lock);
    if (depth && pthread_equal(holder, pthread_self()) && !--depth)
        ast_cond_signal(&is_free);
    ast_mutex_unlock(&lock);
}

static const struct ast_sorcery_instance_observer observer = {
    .object_type_loading = loading,
    .object_type_loaded = loaded,
};

/* The wizard's observer comes before this one, as its module does: it is through when this one lets the next in. */
static void created(const char *name, struct ast_sorcery *sorcery)
{
    if (!strcmp(name, "res_pjsip"))
        ast_sorcery_instance_observer_add(sorcery, &observer);
}

static void destroying(const char *name, struct ast_sorcery *sorcery)
{
    if (!strcmp(name, "res_pjsip"))
        ast_sorcery_instance_observer_remove(sorcery, &observer);
}

static const struct ast_sorcery_global_observer global_observer = {
    .instance_created = created,
    .instance_destroying = destroying,
};

static int load_module(void)
{
    ast_cond_init(&is_free, NULL);
    ast_sorcery_global_observer_add(&global_observer);
    if (ast_sip_get_sorcery && ast_sip_get_sorcery())
        ast_sorcery_instance_observer_add(ast_sip_get_sorcery(), &observer);
    return AST_MODULE_LOAD_SUCCESS;
}

/* Who is inside would find nobody to let him out: it stays until Asterisk ends. */
static int unload_module(void)
{
    return -1;
}

AST_MODULE_INFO(ASTERISK_GPL_KEY, AST_MODFLAG_LOAD_ORDER, "PJSIP: one reload at a time",
    .support_level = AST_MODULE_SUPPORT_EXTENDED,
    .load = load_module,
    .unload = unload_module,
    .load_pri = AST_MODPRI_REALTIME_DRIVER,
    .optional_modules = "res_pjsip_config_wizard",
);

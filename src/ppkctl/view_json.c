/* SPDX-License-Identifier: BSD-2-Clause */
/* Status as JSON: each process as its file says it, with what is known of it; what those have counted that
 * ended; and the sums. */
#include "ppkctl/view.h"

#include <inttypes.h>

void view_json(const struct view *v, struct text *out)
{
    text_printf(out, "{\"processes\":[");
    for (size_t i = 0; i < v->directory.n; i++) {
        const struct status_file *f = &v->directory.files[i];
        text_printf(out, "%s{\"state\":\"%s\",\"uid\":%lu,", i > 0 ? "," : "", view_life(f->life),
                    (unsigned long)f->owner);
        status_print_head(&f->process, out);
        text_printf(out, ",");
        status_print_body(&f->process, out);
        text_printf(out, "}");
    }
    text_printf(out, "],\"ended\":{\"processes\":%" PRIu64 ",", v->directory.n_ended);
    status_print_body(&v->directory.ended, out);
    text_printf(out, "},\"sum\":{");
    status_print_body(&v->sum, out);
    text_printf(out, "}}\n");
}

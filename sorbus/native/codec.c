/* The hot paths of a row in C: pgoutput's text to an event, an event to a COPY row.
 *
 * Python defines what comes out: whatever isn't plainly the usual case here is handed back (None), and Python's own
 * code converts it or says what is wrong with it. So nothing here reports an error of the data, and nothing may give
 * bytes that Python would not have given; tests/native compares the two.
 *
 * Every read is checked against its buffer's end before it is made. Output goes into buffers whose size is computed
 * from the values first. Nothing is kept between calls but what a constructor was given, and the last times.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <structmember.h>

#define INTERFACE 5 /* sorbus/native/__init__.py asks for this number */

typedef unsigned char byte;
enum { FAILED = -1, HANDED_BACK = 0, DONE = 1 };

#define MICROS_2000 INT64_C(946684800000000)
#define DAYS_2000 10957
#define LONGEST_VARINT 10
#define MOST_FIELDS 32 /* that one rule reads */

static const int64_t POWERS[] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, INT64_C(10000000000),
    INT64_C(100000000000), INT64_C(1000000000000), INT64_C(10000000000000), INT64_C(100000000000000),
    INT64_C(1000000000000000), INT64_C(10000000000000000), INT64_C(100000000000000000), INT64_C(1000000000000000000)};
#define DIGITS 18 /* that surely fit into 64 bits */

/* ---- Numbers on the wire ---- */

static uint32_t big32(const byte *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static byte *put32(byte *out, uint32_t value) {
    out[0] = (byte)(value >> 24), out[1] = (byte)(value >> 16), out[2] = (byte)(value >> 8), out[3] = (byte)value;
    return out + 4;
}

static byte *put64(byte *out, uint64_t value) { return put32(put32(out, (uint32_t)(value >> 32)), (uint32_t)value); }

static byte *put16(byte *out, uint16_t value) {
    out[0] = (byte)(value >> 8), out[1] = (byte)value;
    return out + 2;
}

static byte *put(byte *out, const void *from, Py_ssize_t size) {
    if (size) memcpy(out, from, (size_t)size);
    return out + size;
}

static uint64_t zigzag(int64_t value) { return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0); }

static Py_ssize_t long_size(int64_t value) {
    Py_ssize_t size = 1;
    for (uint64_t left = zigzag(value); left > 127; left >>= 7) size++;
    return size;
}

static byte *put_long(byte *out, int64_t value) {
    uint64_t left = zigzag(value);
    for (; left > 127; left >>= 7) *out++ = (byte)(left | 128);
    *out++ = (byte)left;
    return out;
}

/* A zigzag varint at *at, and *at moved behind it; 0 where it is cut short or longer than 64 bits. */
static int get_long(const byte **at, const byte *end, int64_t *value) {
    uint64_t read = 0;
    const byte *p = *at;
    for (int shift = 0; shift < 70 && p < end; shift += 7, p++) {
        if (shift == 63 && *p > 1) return 0;
        read |= (uint64_t)(*p & 127) << shift;
        if (*p < 128) {
            *value = (int64_t)(read >> 1) ^ -(int64_t)(read & 1);
            *at = p + 1;
            return 1;
        }
    }
    return 0;
}

/* Avro's bytes or string at *at: where they are, and *at moved behind them. */
static int get_bytes(const byte **at, const byte *end, const byte **value, Py_ssize_t *size) {
    int64_t length;
    if (!get_long(at, end, &length) || length < 0 || length > end - *at) return 0;
    *value = *at, *size = (Py_ssize_t)length;
    *at += length;
    return 1;
}

/* ---- Texts ---- */

static int is_ascii(const byte *p, Py_ssize_t size) {
    uint64_t eight;
    for (; size >= 8; p += 8, size -= 8) {
        memcpy(&eight, p, 8);
        if (eight & UINT64_C(0x8080808080808080)) return 0;
    }
    for (; size > 0; p++, size--)
        if (*p & 128) return 0;
    return 1;
}

static int is_utf8(const byte *p, Py_ssize_t size) {
    if (is_ascii(p, size)) return 1;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)p, size, NULL); /* as Python's decode() judges it */
    if (text == NULL) PyErr_Clear();
    Py_XDECREF(text);
    return text != NULL;
}

static int hex_digit(byte c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A number of exactly `size` digits; -1 for anything else. */
static int digits(const byte *p, int size) {
    int value = 0;
    for (; size > 0; p++, size--) {
        if (*p < '0' || *p > '9') return -1;
        value = value * 10 + *p - '0';
    }
    return value;
}

/* [-]digits[.digits] in units of 10^-scale, where that is exact and all of it has at most 18 digits. */
static int get_number(const byte *p, Py_ssize_t size, int scale, int64_t *value) {
    const byte *end = p + size;
    int is_negative = size > 0 && *p == '-', count = 0, places = -1;
    if (is_negative) p++;
    if (p == end || *p == '.') return 0;
    int64_t number = 0;
    for (; p < end; p++) {
        if (*p == '.') {
            if (places >= 0) return 0;
            places = 0;
            continue;
        }
        if (*p < '0' || *p > '9' || ++count > DIGITS) return 0;
        number = number * 10 + (*p - '0');
        if (places >= 0) places++;
    }
    if (places == 0) return 0;
    if (places < 0) places = 0;
    if (places > scale || count + scale - places > DIGITS) return 0;
    number *= POWERS[scale - places];
    *value = is_negative ? -number : number;
    return 1;
}

/* Days since 1970 of a date in the years 2 to 9998, so that no time zone leads out of the calendar. */
static int get_day(const byte *p, int64_t *days) {
    static const byte lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = digits(p, 4), month = digits(p + 5, 2), day = digits(p + 8, 2);
    if (p[4] != '-' || p[7] != '-' || year < 2 || year > 9998 || month < 1 || month > 12 || day < 1) return 0;
    int is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > lengths[month - 1] + (month == 2 && is_leap)) return 0;
    int y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    *days = (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    return 1;
}

/* HH:MM:SS in seconds; -1 for anything else. */
static int clock_seconds(const byte *p, int most_hours) {
    int hours = digits(p, 2), minutes = digits(p + 3, 2), seconds = digits(p + 6, 2);
    if (p[2] != ':' || p[5] != ':' || hours < 0 || hours > most_hours) return -1;
    if (minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59) return -1;
    return (hours * 60 + minutes) * 60 + seconds;
}

/* YYYY-MM-DD HH:MM:SS[.ffffff]+HH[:MM[:SS]] in microseconds since 1970. */
static int get_timestamp(const byte *p, Py_ssize_t size, int64_t *micros) {
    int64_t days;
    if (size < 22 || p[10] != ' ' || !get_day(p, &days)) return 0;
    int seconds = clock_seconds(p + 11, 23), fraction = 0;
    if (seconds < 0) return 0;
    const byte *end = p + size;
    p += 19;
    if (*p == '.') {
        int places = 0;
        for (p++; p < end && *p >= '0' && *p <= '9'; p++) {
            if (++places > 6) return 0;
            fraction = fraction * 10 + *p - '0';
        }
        if (places == 0) return 0;
        fraction *= (int)POWERS[6 - places];
    }
    byte zone[9] = {'+', '0', '0', ':', '0', '0', ':', '0', '0'};
    Py_ssize_t left = end - p;
    if (left != 3 && left != 6 && left != 9) return 0;
    memcpy(zone, p, (size_t)left);
    if (zone[0] != '+' && zone[0] != '-') return 0;
    int offset = clock_seconds(zone + 1, 15);
    if (offset < 0) return 0;
    seconds -= zone[0] == '-' ? -offset : offset;
    *micros = (days * 86400 + seconds) * 1000000 + fraction;
    return 1;
}

/* ---- Rows to Avro ---- */

enum { CONSTANT, REST, TEXT, WHOLE, DECIMAL, BOOLEAN, TIMESTAMP, DATE, HEX };
static const char *const SOURCES[] = {"constant", "rest", "text",  "whole", "decimal",
                                      "boolean",  "timestamp", "date", "hex",   NULL};

static int number_of(const char *name, const char *const *names) {
    for (int number = 0; names[number]; number++)
        if (!strcmp(name, names[number])) return number;
    PyErr_Format(PyExc_ValueError, "unknown kind %s", name);
    return FAILED;
}

typedef struct {
    const byte *at;
    Py_ssize_t size; /* -1: null */
} Cell;

typedef struct {
    int kind, column, is_nullable, scale;
    int64_t bound; /* of a number: -bound < number < bound, or of a whole one -bound <= number < bound */
    PyObject *constant;
} Field;

typedef struct {
    PyObject_HEAD
    Py_ssize_t columns, count, rests, key;
    Field *fields;
    Cell *cells;
    byte *is_needed; /* by `rest` or `id_of` */
    int is_busy;
    PyObject *name, *change, *id_of, *rest;
} RowEncoder;

static PyTypeObject RowEncoderType;

static int add_field(RowEncoder *self, Field *field, PyObject *given) {
    const char *name;
    int precision;
    PyObject *constant;
    if (!PyTuple_Check(given) ||
        !PyArg_ParseTuple(given, "sipiiO", &name, &field->column, &field->is_nullable, &precision, &field->scale, &constant))
        return PyErr_Occurred() ? FAILED : (PyErr_SetString(PyExc_TypeError, "a field is a tuple"), FAILED);
    if ((field->kind = number_of(name, SOURCES)) < 0) return FAILED;
    if (field->kind == CONSTANT ? !PyBytes_Check(constant)
                                : field->kind != REST && (field->column < 0 || field->column >= self->columns)) {
        PyErr_Format(PyExc_ValueError, "a %s field without its column or bytes", name);
        return FAILED;
    }
    if (field->scale < 0 || precision < 0 || (field->kind == WHOLE && precision != 31 && precision != 63)) {
        PyErr_SetString(PyExc_ValueError, "a number's size");
        return FAILED;
    }
    if (field->kind == WHOLE) field->bound = precision == 31 ? INT64_C(1) << 31 : INT64_MAX;
    if (field->kind == DECIMAL) field->bound = precision <= DIGITS ? POWERS[precision] : INT64_MAX;
    if (field->kind == CONSTANT) field->constant = Py_NewRef(constant);
    self->rests += field->kind == REST;
    return DONE;
}

static PyObject *row_encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"name", "change", "columns", "key", "fields", "rest", "needed", NULL};
    PyObject *name, *change, *key, *fields, *rest, *needed;
    Py_ssize_t columns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!nOO!OO!", names, &name, &PyType_Type, &change, &columns, &key,
                                     &PyTuple_Type, &fields, &rest, &PyTuple_Type, &needed))
        return NULL;
    PyTypeObject *made = (PyTypeObject *)change;
    if (columns < 1 || columns > 4096 || !PyType_IsSubtype(made, &PyTuple_Type) || made->tp_itemsize != sizeof(PyObject *) ||
        made->tp_dictoffset) {
        PyErr_SetString(PyExc_ValueError, "no columns, or a change that is not a plain named tuple");
        return NULL;
    }
    RowEncoder *self = (RowEncoder *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->columns = columns;
    self->count = PyTuple_GET_SIZE(fields);
    self->name = Py_NewRef(name), self->change = Py_NewRef(change), self->rest = Py_NewRef(rest);
    self->id_of = Py_NewRef(key);
    self->key = FAILED;
    self->fields = PyMem_Calloc((size_t)self->count + 1, sizeof(Field));
    self->cells = PyMem_Calloc((size_t)columns, sizeof(Cell));
    self->is_needed = PyMem_Calloc((size_t)columns, 1);
    if (!self->fields || !self->cells || !self->is_needed) {
        PyErr_NoMemory();
        goto failed;
    }
    if (PyLong_Check(key)) {
        self->key = PyLong_AsSsize_t(key);
        if (self->key < 0 || self->key >= columns) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "the key is no column");
            goto failed;
        }
    }
    for (Py_ssize_t n = 0; n < self->count; n++)
        if (add_field(self, &self->fields[n], PyTuple_GET_ITEM(fields, n)) < 0) goto failed;
    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(needed); n++) {
        Py_ssize_t column = PyLong_AsSsize_t(PyTuple_GET_ITEM(needed, n));
        if (column < 0 || column >= columns) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no such column is needed");
            goto failed;
        }
        self->is_needed[column] = 1;
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static int row_encoder_traverse(RowEncoder *self, visitproc visit, void *arg) {
    Py_VISIT(self->name);
    Py_VISIT(self->change);
    Py_VISIT(self->id_of);
    Py_VISIT(self->rest);
    return 0;
}

static int row_encoder_clear(RowEncoder *self) {
    Py_CLEAR(self->name);
    Py_CLEAR(self->change);
    Py_CLEAR(self->id_of);
    Py_CLEAR(self->rest);
    return 0;
}

static void row_encoder_free(RowEncoder *self) {
    PyObject_GC_UnTrack(self);
    row_encoder_clear(self);
    for (Py_ssize_t n = 0; self->fields && n < self->count; n++) Py_XDECREF(self->fields[n].constant);
    PyMem_Free(self->fields);
    PyMem_Free(self->cells);
    PyMem_Free(self->is_needed);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* TupleData at `p`, into self->cells. Handed back: unchanged TOAST, another number of columns, a row cut short. */
static int read_cells(RowEncoder *self, const byte *p, const byte *end) {
    if (end - p < 2 || (p[0] << 8 | p[1]) != self->columns) return HANDED_BACK;
    p += 2;
    for (Cell *cell = self->cells; cell < self->cells + self->columns; cell++) {
        if (p >= end) return HANDED_BACK;
        if (*p == 'n') {
            cell->size = -1;
            p++;
            continue;
        }
        if (*p != 't' || end - p < 5) return HANDED_BACK;
        uint32_t size = big32(p + 1);
        p += 5;
        if (size > (uint64_t)(end - p)) return HANDED_BACK;
        cell->at = p, cell->size = (Py_ssize_t)size;
        p += size;
    }
    return DONE;
}

/* The row for Python's functions: the columns that they need, None for the others. */
static PyObject *needed_row(RowEncoder *self) {
    PyObject *row = PyList_New(self->columns);
    for (Py_ssize_t n = 0; row && n < self->columns; n++) {
        const Cell *cell = &self->cells[n];
        PyObject *value = self->is_needed[n] && cell->size >= 0
                              ? PyBytes_FromStringAndSize((const char *)cell->at, cell->size)
                              : Py_NewRef(Py_None);
        if (value == NULL) Py_CLEAR(row);
        else PyList_SET_ITEM(row, n, value);
    }
    return row;
}

/* One field's Avro; NULL: handed back. */
static byte *put_field(byte *out, const Field *field, const Cell *cell) {
    int64_t value;
    Py_ssize_t size = cell->size;
    if (size < 0) {
        if (!field->is_nullable) return NULL;
        *out++ = 0;
        return out;
    }
    if (field->is_nullable) *out++ = 2;
    switch (field->kind) {
    case TEXT:
        return is_utf8(cell->at, size) ? put(put_long(out, size), cell->at, size) : NULL;
    case WHOLE:
        if (!get_number(cell->at, size, 0, &value) || value < -field->bound || value >= field->bound) return NULL;
        return put_long(out, value);
    case DECIMAL: {
        if (field->scale > DIGITS || !get_number(cell->at, size, field->scale, &value)) return NULL;
        if (value <= -field->bound || value >= field->bound) return NULL;
        int bits = 0;
        for (int64_t left = value < 0 ? -value : value; left; left >>= 1) bits++;
        int count = (bits + 8) / 8;
        out = put_long(out, count);
        for (int n = count - 1; n >= 0; n--) *out++ = (byte)((uint64_t)value >> (8 * n));
        return out;
    }
    case BOOLEAN:
        *out++ = size == 1 && *cell->at == 't';
        return out;
    case TIMESTAMP:
        return get_timestamp(cell->at, size, &value) ? put_long(out, value) : NULL;
    case DATE:
        return size == 10 && get_day(cell->at, &value) ? put_long(out, value) : NULL;
    case HEX:
        if (size < 2 || size % 2 || cell->at[0] != '\\' || cell->at[1] != 'x') return NULL;
        out = put_long(out, size / 2 - 1);
        for (const byte *p = cell->at + 2; p < cell->at + size; p += 2) {
            int high = hex_digit(p[0]), low = hex_digit(p[1]);
            if (high < 0 || low < 0) return NULL;
            *out++ = (byte)(high << 4 | low);
        }
        return out;
    }
    return NULL;
}

/* Calls one of Python's functions. An error that it has with the row is Python's to report, when it tries again. */
static int ask(PyObject *function, PyObject *row, PyObject **answer) {
    *answer = PyObject_CallOneArg(function, row);
    if (*answer) return DONE;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return FAILED;
    PyErr_Clear();
    return HANDED_BACK;
}

static int encode_fields(RowEncoder *self, PyObject *rests, PyObject **data) {
    Py_ssize_t room = 0, rest = 0;
    for (const Field *field = self->fields; field < self->fields + self->count; field++) {
        Py_ssize_t more = 0;
        if (field->kind == CONSTANT) more = PyBytes_GET_SIZE(field->constant);
        else if (field->kind != REST && self->cells[field->column].size > 0) more = self->cells[field->column].size;
        else if (field->kind == REST) {
            PyObject *one = PyList_GET_ITEM(rests, rest++);
            if (!PyBytes_Check(one)) return HANDED_BACK;
            more = PyBytes_GET_SIZE(one);
        }
        if (room > PY_SSIZE_T_MAX - 32 - more) return HANDED_BACK;
        room += more + 1 + LONGEST_VARINT; /* the branch, and a length or a number */
    }
    byte small[4096], *large = NULL, *begin = small;
    if (room > (Py_ssize_t)sizeof small && (begin = large = PyMem_Malloc((size_t)room)) == NULL)
        return PyErr_NoMemory(), FAILED;
    byte *out = begin;
    rest = 0;
    for (const Field *field = self->fields; out && field < self->fields + self->count; field++) {
        if (field->kind == CONSTANT || field->kind == REST) {
            PyObject *one = field->kind == CONSTANT ? field->constant : PyList_GET_ITEM(rests, rest++);
            out = put(out, PyBytes_AS_STRING(one), PyBytes_GET_SIZE(one));
        } else
            out = put_field(out, field, &self->cells[field->column]);
    }
    int done = out ? DONE : HANDED_BACK;
    if (out && (*data = PyBytes_FromStringAndSize((char *)begin, out - begin)) == NULL) done = FAILED;
    PyMem_Free(large);
    return done;
}

/* The record's id and Avro of self->cells, where `id` is asked for. */
static int encode_cells(RowEncoder *self, PyObject **id, PyObject **data) {
    PyObject *row = NULL, *rests = NULL;
    int done = DONE;
    if (self->rests || (id && self->key < 0)) {
        row = needed_row(self);
        if (row == NULL) return FAILED;
    }
    if (id && self->key >= 0) {
        const Cell *cell = &self->cells[self->key];
        if (cell->size < 1 || cell->size > 999 || !is_ascii(cell->at, cell->size)) done = HANDED_BACK;
        else if ((*id = PyBytes_FromStringAndSize((const char *)cell->at, cell->size)) == NULL) done = FAILED;
    } else if (id && (done = ask(self->id_of, row, id)) == DONE && !PyBytes_CheckExact(*id))
        done = HANDED_BACK;
    if (done == DONE && self->rests && (done = ask(self->rest, row, &rests)) == DONE &&
        (!PyList_CheckExact(rests) || PyList_GET_SIZE(rests) != self->rests))
        done = HANDED_BACK;
    if (done == DONE) done = encode_fields(self, rests, data);
    if (done != DONE && id) Py_CLEAR(*id);
    Py_XDECREF(row);
    Py_XDECREF(rests);
    return done;
}

static PyObject *encode_row(RowEncoder *self, PyObject *row) {
    PyObject *data = NULL;
    if (!PyList_CheckExact(row) || PyList_GET_SIZE(row) != self->columns || self->is_busy) Py_RETURN_NONE;
    for (Py_ssize_t n = 0; n < self->columns; n++) {
        PyObject *value = PyList_GET_ITEM(row, n);
        if (value != Py_None && !PyBytes_CheckExact(value)) Py_RETURN_NONE;
        self->cells[n].size = value == Py_None ? -1 : PyBytes_GET_SIZE(value);
        self->cells[n].at = value == Py_None ? NULL : (const byte *)PyBytes_AS_STRING(value);
    }
    self->is_busy = 1;
    int done = encode_cells(self, NULL, &data);
    self->is_busy = 0;
    if (done == FAILED) return NULL;
    return done == DONE ? data : Py_NewRef(Py_None);
}

static int add_change(RowEncoder *self, PyObject *changes, PyObject *id, int64_t version, PyObject *occurred_at, PyObject *data) {
    PyTypeObject *type = (PyTypeObject *)self->change;
    PyObject *number = PyLong_FromLongLong(version), *change = number ? type->tp_alloc(type, 5) : NULL;
    int done = FAILED;
    if (change) {
        PyTuple_SET_ITEM(change, 0, Py_NewRef(self->name));
        PyTuple_SET_ITEM(change, 1, Py_NewRef(id));
        PyTuple_SET_ITEM(change, 2, Py_NewRef(number));
        PyTuple_SET_ITEM(change, 3, Py_NewRef(occurred_at));
        PyTuple_SET_ITEM(change, 4, Py_NewRef(data));
        done = PyList_Append(changes, change) < 0 ? FAILED : DONE;
    }
    Py_XDECREF(number);
    Py_XDECREF(change);
    return done;
}

/* A line of COPY's text format into self->cells; escaped texts are written to `scratch`, as long as the line. */
static int read_line(RowEncoder *self, const byte *p, const byte *end, byte *scratch) {
    static const char escapes[] = "bfnrtv", meant[] = "\b\f\n\r\t\v";
    if (p == end || *--end != '\n') return HANDED_BACK;
    for (Py_ssize_t n = 0; n < self->columns; n++) {
        Cell *cell = &self->cells[n];
        const byte *stop = memchr(p, '\t', (size_t)(end - p));
        if ((stop == NULL) != (n == self->columns - 1)) return HANDED_BACK;
        if (stop == NULL) stop = end;
        cell->at = p, cell->size = stop - p;
        if (cell->size == 2 && p[0] == '\\' && p[1] == 'N') cell->size = -1;
        else if (cell->size && memchr(p, '\\', (size_t)cell->size)) {
            cell->at = scratch;
            for (; p < stop; p++) {
                if (*p != '\\') {
                    *scratch++ = *p;
                    continue;
                }
                if (++p == stop) return HANDED_BACK;
                const char *found = *p ? strchr(escapes, *p) : NULL;
                *scratch++ = found ? (byte)meant[found - escapes] : *p;
            }
            cell->size = scratch - cell->at;
        }
        p = stop + 1;
    }
    return DONE;
}

/* RowEncoder.take_lines: see _codec.pyi. */
static PyObject *take_lines(RowEncoder *self, PyObject *args) {
    PyObject *lines, *changes, *occurred_at;
    Py_ssize_t at;
    long long version;
    if (!PyArg_ParseTuple(args, "O!nO!LO", &PyList_Type, &lines, &at, &PyList_Type, &changes, &version, &occurred_at)) return NULL;
    int done = DONE;
    while (done == DONE && !self->is_busy && at >= 0 && at < PyList_GET_SIZE(lines)) {
        PyObject *line = PyList_GET_ITEM(lines, at), *id = NULL, *data = NULL;
        if (!PyBytes_CheckExact(line)) break;
        Py_ssize_t size = PyBytes_GET_SIZE(line);
        const byte *p = (const byte *)PyBytes_AS_STRING(line);
        byte small[1024], *scratch = small;
        if (size > (Py_ssize_t)sizeof small && (scratch = PyMem_Malloc((size_t)size)) == NULL) return PyErr_NoMemory();
        Py_INCREF(line);
        self->is_busy = 1;
        done = read_line(self, p, p + size, scratch);
        if (done == DONE) done = encode_cells(self, &id, &data);
        self->is_busy = 0;
        if (done == DONE && (done = add_change(self, changes, id, version, occurred_at, data)) == DONE) at++;
        Py_XDECREF(id);
        Py_XDECREF(data);
        Py_DECREF(line);
        if (scratch != small) PyMem_Free(scratch);
    }
    return done == FAILED ? NULL : PyLong_FromSsize_t(at);
}

/* take_rows: see _codec.pyi. */
static PyObject *take_rows(PyObject *module, PyObject *args) {
    PyObject *frames, *tables, *changes, *occurred_at;
    Py_ssize_t at, most_changes;
    long long version, final, size, most_bytes;
    if (!PyArg_ParseTuple(args, "O!nO!O!OLLLnL", &PyList_Type, &frames, &at, &PyDict_Type, &tables, &PyList_Type, &changes,
                          &occurred_at, &version, &final, &size, &most_changes, &most_bytes))
        return NULL;
    RowEncoder *encoder = NULL;
    byte table[4];
    int done = DONE;
    while (done == DONE && at >= 0 && at < PyList_GET_SIZE(frames) && PyList_GET_SIZE(changes) < most_changes &&
           size < most_bytes && version < INT64_MAX) {
        PyObject *frame = PyList_GET_ITEM(frames, at), *id = NULL, *data = NULL;
        if (!PyBytes_CheckExact(frame) || PyBytes_GET_SIZE(frame) < 33) break;
        const byte *p = (const byte *)PyBytes_AS_STRING(frame), *end = p + PyBytes_GET_SIZE(frame);
        if (p[0] != 'w' || (p[25] != 'I' && p[25] != 'U') || p[30] != 'N') break;
        if (encoder == NULL || memcmp(table, p + 26, 4)) {
            memcpy(table, p + 26, 4);
            Py_CLEAR(encoder);
            PyObject *key = PyBytes_FromStringAndSize((const char *)table, 4);
            PyObject *shape = key ? PyDict_GetItemWithError(tables, key) : NULL;
            Py_XDECREF(key);
            if (shape == NULL) break; /* maybe with an error */
            PyObject *found = PyObject_GetAttrString(shape, "native");
            if (found == NULL || !PyObject_TypeCheck(found, &RowEncoderType)) {
                Py_XDECREF(found);
                break;
            }
            encoder = (RowEncoder *)found;
        }
        if (encoder->is_busy) break;
        Py_INCREF(frame);
        encoder->is_busy = 1;
        done = read_cells(encoder, p + 31, end);
        if (done == DONE) done = encode_cells(encoder, &id, &data);
        encoder->is_busy = 0;
        if (done == DONE) {
            version = version + 1 < final ? final : version + 1;
            done = add_change(encoder, changes, id, version, occurred_at, data);
            size += PyBytes_GET_SIZE(frame) - 25;
            at++;
        }
        Py_XDECREF(id);
        Py_XDECREF(data);
        Py_DECREF(frame);
    }
    Py_XDECREF(encoder);
    return PyErr_Occurred() ? NULL : Py_BuildValue("nLL", at, version, size);
}

/* ---- Events ---- */

typedef struct {
    int64_t micros;
    PyObject *avro, *header; /* NULL: none yet */
} Moment;

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *prefix, *source, *subject, *upserts, *deletes, *names, *moment, *plainly;
    Moment occurred, captured;
} EventEncoder;

static int event_encoder_traverse(EventEncoder *self, visitproc visit, void *arg) {
    Py_VISIT(self->upserts);
    Py_VISIT(self->deletes);
    Py_VISIT(self->names);
    Py_VISIT(self->moment);
    Py_VISIT(self->plainly);
    Py_VISIT(self->occurred.header);
    Py_VISIT(self->captured.header);
    return 0;
}

static int event_encoder_clear(EventEncoder *self) {
    Py_CLEAR(self->prefix);
    Py_CLEAR(self->source);
    Py_CLEAR(self->subject);
    Py_CLEAR(self->upserts);
    Py_CLEAR(self->deletes);
    Py_CLEAR(self->names);
    Py_CLEAR(self->moment);
    Py_CLEAR(self->plainly);
    for (Moment *one = &self->occurred; one <= &self->captured; one++) {
        Py_CLEAR(one->avro);
        Py_CLEAR(one->header);
    }
    return 0;
}

static void event_encoder_free(EventEncoder *self) {
    PyObject_GC_UnTrack(self);
    event_encoder_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* A time's Avro and its ce_time header, as Python's function writes them. */
static int at_moment(EventEncoder *self, Moment *known, PyObject *micros) {
    int overflow;
    int64_t value = PyLong_CheckExact(micros) ? PyLong_AsLongLongAndOverflow(micros, &overflow) : (overflow = 1, 0);
    if (overflow) return HANDED_BACK;
    if (known->avro && known->micros == value) return DONE;
    PyObject *made = PyObject_CallOneArg(self->moment, micros);
    if (made == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) return FAILED;
        PyErr_Clear();
        return HANDED_BACK;
    }
    PyObject *header = NULL;
    int done = PyTuple_Check(made) && PyTuple_GET_SIZE(made) == 2 && PyBytes_Check(PyTuple_GET_ITEM(made, 0));
    if (done && (header = PyTuple_Pack(2, PyTuple_GET_ITEM(self->names, 1), PyTuple_GET_ITEM(made, 1))) == NULL) done = FAILED;
    if (done == DONE) {
        Py_XSETREF(known->avro, Py_NewRef(PyTuple_GET_ITEM(made, 0)));
        Py_XSETREF(known->header, header);
        known->micros = value;
    }
    Py_DECREF(made);
    return done;
}

static PyObject *event_headers(EventEncoder *self, PyObject *fixed, PyObject *event_id, PyObject *time) {
    Py_ssize_t count = PyList_GET_SIZE(fixed);
    PyObject *headers = PyList_New(count + 2);
    if (headers == NULL) return NULL;
    for (Py_ssize_t n = 0; n < count; n++) PyList_SET_ITEM(headers, n, Py_NewRef(PyList_GET_ITEM(fixed, n)));
    PyObject *named = PyTuple_Pack(2, PyTuple_GET_ITEM(self->names, 0), event_id);
    PyList_SET_ITEM(headers, count, named);
    PyList_SET_ITEM(headers, count + 1, Py_NewRef(time));
    if (named == NULL) Py_CLEAR(headers);
    return headers;
}

static PyObject *encode_event(PyObject *callable, PyObject *const *args, size_t nargs, PyObject *names) {
    EventEncoder *self = (EventEncoder *)callable;
    if (PyVectorcall_NARGS(nargs) != 5 || (names && PyTuple_GET_SIZE(names))) goto plainly;
    PyObject *id = args[0], *data = args[4];
    int overflow = 1;
    int64_t version = PyLong_CheckExact(args[1]) ? PyLong_AsLongLongAndOverflow(args[1], &overflow) : 0;
    if (overflow || !PyBytes_CheckExact(id) || !(data == Py_None || PyBytes_CheckExact(data))) goto plainly;
    int done = at_moment(self, &self->captured, args[3]);
    PyObject *captured = done == DONE ? Py_NewRef(self->captured.avro) : NULL;
    if (done == DONE) done = at_moment(self, &self->occurred, args[2]); /* Python's code: another thread may come between */
    if (done != DONE) Py_XDECREF(captured);
    if (done == FAILED) return NULL;
    if (done == HANDED_BACK) goto plainly;
    PyObject *occurred = Py_NewRef(self->occurred.avro), *time = Py_NewRef(self->occurred.header);
    char number[24];
    Py_ssize_t digits = snprintf(number, sizeof number, "@%lld", (long long)version);
    Py_ssize_t id_size = PyBytes_GET_SIZE(id), subject_size = PyBytes_GET_SIZE(self->subject);
    Py_ssize_t event_size = subject_size + 1 + id_size + digits, data_size = data == Py_None ? 0 : PyBytes_GET_SIZE(data);
    PyObject *event_id = PyBytes_FromStringAndSize(NULL, event_size);
    PyObject *value = PyBytes_FromStringAndSize(
        NULL, PyBytes_GET_SIZE(self->prefix) + long_size(id_size) + id_size + 1 + long_size(version) +
                  PyBytes_GET_SIZE(self->source) + PyBytes_GET_SIZE(occurred) + PyBytes_GET_SIZE(captured) +
                  long_size(event_size) + event_size + 1 + data_size);
    PyObject *headers = NULL, *result = NULL;
    if (event_id && value) {
        byte *out = (byte *)PyBytes_AS_STRING(event_id);
        out = put(out, PyBytes_AS_STRING(self->subject), subject_size);
        *out++ = '/';
        put(put(out, PyBytes_AS_STRING(id), id_size), number, digits);
        out = put((byte *)PyBytes_AS_STRING(value), PyBytes_AS_STRING(self->prefix), PyBytes_GET_SIZE(self->prefix));
        out = put(put_long(out, id_size), PyBytes_AS_STRING(id), id_size);
        *out++ = data == Py_None ? 2 : 0;
        out = put_long(out, version);
        out = put(out, PyBytes_AS_STRING(self->source), PyBytes_GET_SIZE(self->source));
        out = put(out, PyBytes_AS_STRING(occurred), PyBytes_GET_SIZE(occurred));
        out = put(out, PyBytes_AS_STRING(captured), PyBytes_GET_SIZE(captured));
        out = put(put_long(out, event_size), PyBytes_AS_STRING(event_id), event_size);
        *out++ = data == Py_None ? 0 : 2;
        if (data_size) put(out, PyBytes_AS_STRING(data), data_size);
        headers = event_headers(self, data == Py_None ? self->deletes : self->upserts, event_id, time);
    }
    if (headers) result = PyTuple_Pack(2, value, headers);
    Py_XDECREF(event_id);
    Py_XDECREF(value);
    Py_XDECREF(headers);
    Py_DECREF(captured);
    Py_DECREF(occurred);
    Py_DECREF(time);
    return result;
plainly:
    return PyObject_Vectorcall(self->plainly, args, nargs, names);
}

static PyObject *event_encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *prefix, *source, *subject, *upserts, *deletes, *names, *moment, *plainly;
    if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_SetString(PyExc_TypeError, "no names here"), NULL;
    if (!PyArg_ParseTuple(args, "SSSO!O!O!OO", &prefix, &source, &subject, &PyList_Type, &upserts, &PyList_Type, &deletes,
                          &PyTuple_Type, &names, &moment, &plainly))
        return NULL;
    if (PyTuple_GET_SIZE(names) != 2) return PyErr_SetString(PyExc_ValueError, "two names of headers"), NULL;
    EventEncoder *self = (EventEncoder *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->call = encode_event;
    self->prefix = Py_NewRef(prefix), self->source = Py_NewRef(source), self->subject = Py_NewRef(subject);
    self->upserts = Py_NewRef(upserts), self->deletes = Py_NewRef(deletes), self->names = Py_NewRef(names);
    self->moment = Py_NewRef(moment), self->plainly = Py_NewRef(plainly);
    return (PyObject *)self;
}

/* read_event: see _codec.pyi. */
static PyObject *read_event(PyObject *module, PyObject *frame) {
    static const byte deleted_ops[] = {0, 2};
    if (!PyBytes_CheckExact(frame)) Py_RETURN_NONE;
    const byte *begin = (const byte *)PyBytes_AS_STRING(frame), *end = begin + PyBytes_GET_SIZE(frame), *at = begin, *id, *skipped;
    Py_ssize_t head = 0, size, ignored, data_at = -1;
    int64_t version, time;
    if (end - at > 5 && at[0] == 0) head = 5;
    else if (end - at > 10 && at[0] == 0xC3 && at[1] == 1) head = 10;
    if (!head) Py_RETURN_NONE;
    at += head;
    if (!get_bytes(&at, end, &id, &size) || !is_utf8(id, size) || at >= end || !memchr(deleted_ops, *at, 2)) Py_RETURN_NONE;
    int is_deleted = *at++ == 2;
    if (!get_long(&at, end, &version)) Py_RETURN_NONE;
    Py_ssize_t source_at = at - begin;
    if (!is_deleted) {
        if (!get_bytes(&at, end, &skipped, &ignored) || !get_long(&at, end, &time) || !get_long(&at, end, &time) ||
            !get_bytes(&at, end, &skipped, &ignored) || at >= end || *at != 2)
            Py_RETURN_NONE;
        data_at = at + 1 - begin;
    }
    return Py_BuildValue("y#y#NLnn", begin, head, id, size, PyBool_FromLong(is_deleted), (long long)version, source_at, data_at);
}

/* ---- Avro to rows for COPY ---- */

enum { C_TEXT, C_JSONB, C_ENUM, C_UUID, C_BIGINT, C_INTEGER, C_DOUBLE, C_BOOLEAN, C_SMALL, C_NUMERIC, C_TIMESTAMP, C_DATE,
       S_BYTES, S_LONG, S_ONE, S_FOUR, S_EIGHT };
static const char *const CELLS[] = {"text", "jsonb", "enum", "uuid", "bigint", "integer", "double", "boolean", "small",
                                    "numeric", "timestamp", "date", "skip bytes", "skip long", "skip 1", "skip 4", "skip 8",
                                    NULL};

typedef struct {
    int kind, is_nullable, scale;
    long long limit; /* of a text: characters, -1 for any; of a decimal: the units that it must be whole in */
    PyObject *symbols; /* of an enum: its cells */
} Read;

typedef struct {
    PyObject_HEAD
    PyObject *start, *computed; /* (function, whether it is a table, its fields, whether it must show something) */
    Py_ssize_t count;
    Read *reads;
} CellEncoder;

static int cell_encoder_traverse(CellEncoder *self, visitproc visit, void *arg) {
    Py_VISIT(self->computed);
    return 0;
}

static int cell_encoder_clear(CellEncoder *self) {
    Py_CLEAR(self->computed);
    return 0;
}

static void cell_encoder_free(CellEncoder *self) {
    PyObject_GC_UnTrack(self);
    cell_encoder_clear(self);
    for (Py_ssize_t n = 0; self->reads && n < self->count; n++) Py_XDECREF(self->reads[n].symbols);
    PyMem_Free(self->reads);
    Py_XDECREF(self->start);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int add_read(Read *read, PyObject *given) {
    const char *name;
    PyObject *symbols;
    if (!PyTuple_Check(given)) return PyErr_SetString(PyExc_TypeError, "a field is a tuple"), FAILED;
    if (!PyArg_ParseTuple(given, "spLiO!", &name, &read->is_nullable, &read->limit, &read->scale, &PyTuple_Type, &symbols))
        return FAILED;
    if ((read->kind = number_of(name, CELLS)) < 0) return FAILED;
    if (read->scale < 0 || read->scale > DIGITS || (read->limit < 1 && (read->kind == C_SMALL || read->kind == C_NUMERIC)))
        return PyErr_SetString(PyExc_ValueError, "a number's size"), FAILED;
    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(symbols); n++)
        if (!PyBytes_Check(PyTuple_GET_ITEM(symbols, n))) return PyErr_SetString(PyExc_TypeError, "cells are bytes"), FAILED;
    read->symbols = Py_NewRef(symbols);
    return DONE;
}

static int check_computed(CellEncoder *self, PyObject *given) {
    PyObject *function, *fields;
    int is_table, must_show;
    if (!PyTuple_Check(given)) return PyErr_SetString(PyExc_TypeError, "a computed cell is a tuple"), FAILED;
    if (!PyArg_ParseTuple(given, "OpO!p", &function, &is_table, &PyTuple_Type, &fields, &must_show)) return FAILED;
    Py_ssize_t count = PyTuple_GET_SIZE(fields);
    if (count < 1 || count > MOST_FIELDS) return PyErr_SetString(PyExc_ValueError, "too many or few fields"), FAILED;
    for (Py_ssize_t n = 0; n < count; n++) {
        Py_ssize_t field = PyLong_AsSsize_t(PyTuple_GET_ITEM(fields, n));
        if (field >= 0 && field < self->count) continue;
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no such field");
        return FAILED;
    }
    return DONE;
}

static PyObject *cell_encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *start, *reads, *computed;
    if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_SetString(PyExc_TypeError, "no names here"), NULL;
    if (!PyArg_ParseTuple(args, "SO!O!", &start, &PyTuple_Type, &reads, &PyTuple_Type, &computed)) return NULL;
    CellEncoder *self = (CellEncoder *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->start = Py_NewRef(start), self->computed = Py_NewRef(computed);
    self->count = PyTuple_GET_SIZE(reads);
    self->reads = PyMem_Calloc((size_t)self->count + 1, sizeof(Read));
    if (self->reads == NULL) PyErr_NoMemory();
    for (Py_ssize_t n = 0; self->reads && n < self->count; n++)
        if (add_read(&self->reads[n], PyTuple_GET_ITEM(reads, n)) < 0) break;
    for (Py_ssize_t n = 0; !PyErr_Occurred() && n < PyTuple_GET_SIZE(computed); n++)
        if (check_computed(self, PyTuple_GET_ITEM(computed, n)) < 0) break;
    if (PyErr_Occurred()) Py_CLEAR(self);
    return (PyObject *)self;
}

/* Growing output: `room` makes sure that so many bytes more fit. */
typedef struct {
    byte *begin, *at, *end;
    int is_heap;
} Buffer;

static int room(Buffer *out, Py_ssize_t more) {
    if (more <= out->end - out->at) return DONE;
    Py_ssize_t used = out->at - out->begin, size = out->end - out->begin;
    if (more > PY_SSIZE_T_MAX / 2 - 2 * size) return PyErr_NoMemory(), FAILED;
    size = 2 * size + more;
    byte *grown = PyMem_Realloc(out->is_heap ? out->begin : NULL, (size_t)size);
    if (grown == NULL) return PyErr_NoMemory(), FAILED;
    if (!out->is_heap) memcpy(grown, out->begin, (size_t)used);
    out->begin = grown, out->at = grown + used, out->end = grown + size, out->is_heap = 1;
    return DONE;
}

static int put_numeric(Buffer *out, int64_t value, int scale) {
    unsigned __int128 rest = (unsigned __int128)(value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    int fill = (4 - scale % 4) % 4, count = 0;
    uint16_t groups[12], sign = value < 0 ? 0x4000 : 0;
    for (int n = 0; n < fill; n++) rest *= 10;
    for (; rest; rest /= 10000) groups[count++] = (uint16_t)(rest % 10000);
    int weight = count - (scale + fill) / 4 - 1, zeros = 0;
    while (zeros < count && !groups[zeros]) zeros++;
    if (zeros == count) sign = 0, weight = 0;
    if (room(out, 4 + 8 + 2 * 12) < 0) return FAILED;
    byte *at = put32(out->at, (uint32_t)(8 + 2 * (count - zeros)));
    at = put16(at, (uint16_t)(count - zeros));
    at = put16(at, (uint16_t)weight);
    at = put16(put16(at, sign), (uint16_t)scale);
    for (int n = count - 1; n >= zeros; n--) at = put16(at, groups[n]);
    out->at = at;
    return DONE;
}

static int put_uuid(Buffer *out, const byte *text, Py_ssize_t size) {
    if (size != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return HANDED_BACK;
    out->at = put32(out->at, 16);
    for (const byte *p = text; p < text + 36;) {
        if (*p == '-') {
            p++;
            continue;
        }
        int high = hex_digit(p[0]), low = p + 1 < text + 36 ? hex_digit(p[1]) : -1;
        if (high < 0 || low < 0) return HANDED_BACK;
        *out->at++ = (byte)(high << 4 | low);
        p += 2;
    }
    return DONE;
}

/* One field at *at as a cell. */
static int put_cell(Buffer *out, const Read *read, const byte **at, const byte *end) {
    int64_t value;
    const byte *text;
    Py_ssize_t size;
    int is_skipped = read->kind >= S_BYTES;
    if (room(out, 32) < 0) return FAILED;
    if (read->is_nullable) {
        if (*at >= end || (**at != 0 && **at != 2)) return HANDED_BACK;
        if (*(*at)++ == 0) {
            if (!is_skipped) out->at = put32(out->at, UINT32_MAX);
            return DONE;
        }
    }
    switch (read->kind) {
    case C_TEXT:
    case C_JSONB: {
        int is_jsonb = read->kind == C_JSONB;
        if (!get_bytes(at, end, &text, &size) || size >= INT32_MAX) return HANDED_BACK;
        if (read->limit >= 0 && size > read->limit && text[size - 1] == ' ') return HANDED_BACK;
        if (room(out, size + 5) < 0) return FAILED;
        out->at = put32(out->at, (uint32_t)(size + is_jsonb));
        if (is_jsonb) *out->at++ = 1;
        out->at = put(out->at, text, size);
        return DONE;
    }
    case C_ENUM: {
        if (!get_long(at, end, &value) || value < 0 || value >= PyTuple_GET_SIZE(read->symbols)) return HANDED_BACK;
        PyObject *cell = PyTuple_GET_ITEM(read->symbols, value);
        if (room(out, PyBytes_GET_SIZE(cell)) < 0) return FAILED;
        out->at = put(out->at, PyBytes_AS_STRING(cell), PyBytes_GET_SIZE(cell));
        return DONE;
    }
    case C_UUID:
        return get_bytes(at, end, &text, &size) ? put_uuid(out, text, size) : HANDED_BACK;
    case C_BIGINT:
    case C_TIMESTAMP:
        if (!get_long(at, end, &value)) return HANDED_BACK;
        if (read->kind == C_TIMESTAMP) {
            if (value < INT64_MIN + MICROS_2000) return HANDED_BACK;
            value -= MICROS_2000;
        }
        out->at = put64(put32(out->at, 8), (uint64_t)value);
        return DONE;
    case C_INTEGER:
    case C_DATE:
        if (!get_long(at, end, &value) || value < INT32_MIN || value > INT32_MAX) return HANDED_BACK;
        if (read->kind == C_DATE) value -= DAYS_2000;
        if (value < INT32_MIN) return HANDED_BACK;
        out->at = put32(put32(out->at, 4), (uint32_t)value);
        return DONE;
    case C_DOUBLE:
        if (end - *at < 8) return HANDED_BACK;
        out->at = put32(out->at, 8);
        for (int n = 7; n >= 0; n--) *out->at++ = (*at)[n];
        *at += 8;
        return DONE;
    case C_BOOLEAN:
        if (*at >= end || **at > 1) return HANDED_BACK;
        out->at = put32(out->at, 1);
        *out->at++ = *(*at)++;
        return DONE;
    case C_SMALL:
    case C_NUMERIC: {
        if (!get_bytes(at, end, &text, &size) || size < 1 || size > 8) return HANDED_BACK;
        uint64_t raw = text[0] & 128 ? UINT64_MAX : 0;
        for (Py_ssize_t n = 0; n < size; n++) raw = raw << 8 | text[n];
        value = (int64_t)raw;
        if (read->limit > 1 && value % read->limit) return HANDED_BACK;
        if (read->kind == C_NUMERIC) return put_numeric(out, value, read->scale);
        out->at = put64(put32(out->at, 8), raw);
        return DONE;
    }
    case S_BYTES:
        return get_bytes(at, end, &text, &size);
    case S_LONG:
        return get_long(at, end, &value);
    default:
        size = read->kind == S_ONE ? 1 : read->kind == S_FOUR ? 4 : 8;
        if (end - *at < size) return HANDED_BACK;
        *at += size;
        return DONE;
    }
}

/* Whether a cell surely shows something: other signs than these may be blanks. */
static int shows(PyObject *cell) {
    const char *p = PyBytes_AS_STRING(cell) + 4, *end = PyBytes_AS_STRING(cell) + PyBytes_GET_SIZE(cell);
    for (; p < end; p++)
        if ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z')) return 1;
    return 0;
}

/* A cell that a rule makes of the bytes of fields, which `ends` tells: each begins where the one before it ends. */
static int put_computed(Buffer *out, PyObject *computed, const byte *const *ends) {
    PyObject *function = PyTuple_GET_ITEM(computed, 0), *fields = PyTuple_GET_ITEM(computed, 2), *args[MOST_FIELDS], *cell = NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(fields), made = 0;
    for (; made < count; made++) {
        Py_ssize_t field = PyLong_AsSsize_t(PyTuple_GET_ITEM(fields, made));
        args[made] = PyBytes_FromStringAndSize((const char *)ends[field], ends[field + 1] - ends[field]);
        if (args[made] == NULL) break;
    }
    if (made == count && PyTuple_GET_ITEM(computed, 1) == Py_True) {
        PyObject *key = count == 1 ? Py_NewRef(args[0]) : PyTuple_New(count);
        for (Py_ssize_t n = 0; key && count > 1 && n < count; n++) PyTuple_SET_ITEM(key, n, Py_NewRef(args[n]));
        if (key) cell = PyObject_GetItem(function, key);
        Py_XDECREF(key);
    } else if (made == count)
        cell = PyObject_Vectorcall(function, args, (size_t)count, NULL);
    while (made > 0) Py_DECREF(args[--made]);
    if (cell == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) return FAILED;
        PyErr_Clear();
        return HANDED_BACK;
    }
    int done = PyBytes_CheckExact(cell) && PyBytes_GET_SIZE(cell) >= 4 ? DONE : HANDED_BACK;
    if (done == DONE && PyTuple_GET_ITEM(computed, 3) == Py_True && !shows(cell)) done = HANDED_BACK;
    if (done == DONE) done = room(out, PyBytes_GET_SIZE(cell));
    if (done == DONE) out->at = put(out->at, PyBytes_AS_STRING(cell), PyBytes_GET_SIZE(cell));
    Py_DECREF(cell);
    return done;
}

/* CellEncoder(id, version, data, at): see _codec.pyi. */
static PyObject *pack_row(CellEncoder *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 4) return PyErr_SetString(PyExc_TypeError, "id, version, data, at"), NULL;
    PyObject *id = args[0], *data = args[2], *row = NULL;
    if (!PyBytes_CheckExact(id) || !PyBytes_CheckExact(data) || PyBytes_GET_SIZE(id) >= INT32_MAX) Py_RETURN_NONE;
    int overflow;
    int64_t version = PyLong_AsLongLongAndOverflow(args[1], &overflow);
    Py_ssize_t from = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred()) return NULL;
    if (overflow || from < 0 || from > PyBytes_GET_SIZE(data)) Py_RETURN_NONE;
    byte small[4096];
    Buffer out = {small, small, small + sizeof small, 0};
    const byte *at = (const byte *)PyBytes_AS_STRING(data) + from, *end = at + PyBytes_GET_SIZE(data) - from;
    int done = room(&out, PyBytes_GET_SIZE(self->start) + PyBytes_GET_SIZE(id) + 16);
    if (done == DONE) {
        out.at = put(out.at, PyBytes_AS_STRING(self->start), PyBytes_GET_SIZE(self->start));
        out.at = put(put32(out.at, (uint32_t)PyBytes_GET_SIZE(id)), PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id));
        out.at = put64(put32(out.at, 8), (uint64_t)version);
    }
    const byte *few[64], **ends = few;
    if (self->count >= 64 && (ends = PyMem_Calloc((size_t)self->count + 1, sizeof *ends)) == NULL) done = (PyErr_NoMemory(), FAILED);
    for (Py_ssize_t n = 0; done == DONE && n < self->count; n++) {
        ends[n] = at;
        done = put_cell(&out, &self->reads[n], &at, end);
        ends[n + 1] = at;
    }
    if (done == DONE && at != end) done = HANDED_BACK;
    for (Py_ssize_t n = 0; done == DONE && n < PyTuple_GET_SIZE(self->computed); n++)
        done = put_computed(&out, PyTuple_GET_ITEM(self->computed, n), ends);
    if (ends != few) PyMem_Free(ends);
    if (done == DONE) row = PyBytes_FromStringAndSize((char *)out.begin, out.at - out.begin);
    if (out.is_heap) PyMem_Free(out.begin);
    return done == HANDED_BACK ? Py_NewRef(Py_None) : row;
}

/* ---- Packed rows as arrays ---- */

typedef struct {
    Py_ssize_t size;
    uint32_t has_null;
    byte *out;
} Column;

/* What Python's take_apart makes of rows for COPY: for each column's type, its cells as a binary array. */
static PyObject *arrays_of(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *rows, *oids, *made = NULL;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &rows, &PyTuple_Type, &oids)) return NULL;
    Py_ssize_t width = PyTuple_GET_SIZE(oids), count = PyList_GET_SIZE(rows);
    Column *columns = PyMem_Calloc((size_t)width + 1, sizeof(Column));
    if (columns == NULL) return PyErr_NoMemory();
    for (Py_ssize_t n = 0; n < count; n++) {
        PyObject *row = PyList_GET_ITEM(rows, n);
        if (!PyBytes_Check(row) || PyBytes_GET_SIZE(row) < 2) goto handed_back;
        const byte *p = (const byte *)PyBytes_AS_STRING(row) + 2, *end = p - 2 + PyBytes_GET_SIZE(row);
        for (Column *column = columns; column < columns + width; column++) {
            if (end - p < 4) goto handed_back;
            uint32_t size = big32(p);
            p += 4, column->size += 4;
            if (size == UINT32_MAX) {
                column->has_null = 1;
                continue;
            }
            if (size > INT32_MAX || (Py_ssize_t)size > end - p) goto handed_back;
            p += size, column->size += size;
        }
    }
    if ((made = PyList_New(width)) == NULL) goto end;
    for (Py_ssize_t at = 0; at < width; at++) {
        unsigned long oid = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(oids, at));
        PyObject *array = PyErr_Occurred() ? NULL : PyBytes_FromStringAndSize(NULL, 20 + columns[at].size);
        if (array == NULL) {
            Py_CLEAR(made);
            goto end;
        }
        PyList_SET_ITEM(made, at, array);
        byte *out = put32((byte *)PyBytes_AS_STRING(array), 1);
        out = put32(put32(out, columns[at].has_null), (uint32_t)oid);
        columns[at].out = put32(put32(out, (uint32_t)count), 1);
    }
    for (Py_ssize_t n = 0; n < count; n++) {
        const byte *p = (const byte *)PyBytes_AS_STRING(PyList_GET_ITEM(rows, n)) + 2;
        for (Column *column = columns; column < columns + width; column++) {
            uint32_t size = big32(p);
            Py_ssize_t taken = 4 + (size == UINT32_MAX ? 0 : (Py_ssize_t)size);
            column->out = put(column->out, p, taken);
            p += taken;
        }
    }
    goto end;
handed_back:
    made = Py_NewRef(Py_None);
end:
    PyMem_Free(columns);
    return made;
}

/* ---- The module ---- */

static PyMethodDef ROW_METHODS[] = {{"encode", (PyCFunction)encode_row, METH_O, "A row's Avro; None: handed back."},
                                    {"take_lines", (PyCFunction)take_lines, METH_VARARGS, "Lines of a COPY, as changes."},
                                    {0}};

static PyTypeObject RowEncoderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "sorbus.native._codec.RowEncoder",
    .tp_basicsize = sizeof(RowEncoder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = row_encoder_new,
    .tp_dealloc = (destructor)row_encoder_free,
    .tp_traverse = (traverseproc)row_encoder_traverse,
    .tp_clear = (inquiry)row_encoder_clear,
    .tp_methods = ROW_METHODS,
};

static PyTypeObject EventEncoderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "sorbus.native._codec.EventEncoder",
    .tp_basicsize = sizeof(EventEncoder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_new = event_encoder_new,
    .tp_dealloc = (destructor)event_encoder_free,
    .tp_traverse = (traverseproc)event_encoder_traverse,
    .tp_clear = (inquiry)event_encoder_clear,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(EventEncoder, call),
};

static PyMethodDef CELL_METHODS[] = {
    {"pack", (PyCFunction)(void (*)(void))pack_row, METH_FASTCALL, "A record as a row for COPY; None: handed back."}, {0}};

static PyTypeObject CellEncoderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "sorbus.native._codec.CellEncoder",
    .tp_basicsize = sizeof(CellEncoder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = cell_encoder_new,
    .tp_dealloc = (destructor)cell_encoder_free,
    .tp_traverse = (traverseproc)cell_encoder_traverse,
    .tp_clear = (inquiry)cell_encoder_clear,
    .tp_methods = CELL_METHODS,
};

static PyMethodDef METHODS[] = {
    {"take_rows", take_rows, METH_VARARGS, "Rows of a replication stream, as changes."},
    {"read_event", read_event, METH_O, "An event's head; None: handed back."},
    {"arrays", arrays_of, METH_VARARGS, "Rows for COPY, as an array a column; None: handed back."},
    {0},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_codec", "The hot paths of a row, in C.", -1, METHODS};

PyMODINIT_FUNC PyInit__codec(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module && (PyModule_AddType(module, &RowEncoderType) < 0 || PyModule_AddType(module, &EventEncoderType) < 0 ||
                   PyModule_AddType(module, &CellEncoderType) < 0 || PyModule_AddIntConstant(module, "INTERFACE", INTERFACE) < 0))
        Py_CLEAR(module);
    return module;
}

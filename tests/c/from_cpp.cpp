// The header is C++17, and the functions keep their C names: a small owner class on top of them.
// build: -DSTATIC_PAGES=1 -DEXTERN_FAIL
#include "check.h"

static int num_failures;

extern "C" void hiwire_invalid_ref(int, HwRef)
{
    num_failures++;
}

namespace
{
class Handle
{
  public:
    explicit Handle(HwRef ref) : ref_(ref)
    {
    }
    Handle(const Handle &other) : ref_(other.ref_)
    {
        hiwire_incref(ref_);
    }
    Handle(Handle &&other) noexcept : ref_(other.ref_)
    {
        other.ref_ = nullptr;
    }
    Handle &operator=(const Handle &) = delete;
    ~Handle()
    {
        hiwire_decref(ref_);
    }
    HwRef get() const
    {
        return ref_;
    }

  private:
    HwRef ref_;
};
} // namespace

TEST(owners_count)
{
    {
        Handle first(hiwire_new(object(1)));
        Handle second(first);
        CHECK(hiwire_refcount(first.get()) == 2);
        Handle third(static_cast<Handle &&>(second));
        CHECK(second.get() == nullptr && hiwire_refcount(third.get()) == 2);
        CHECK(number_of(hiwire_get(third.get())) == 1);
    }
    CHECK(hiwire_num_refs() == 0 && num_failures == 0);
    static_assert(sizeof(HwRef) == 4 && alignof(HwRef) == 4, "a ref is one i32");
}
